#include "support/held_turn.hpp"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <set>
#include <thread>
#include <utility>

namespace holdfast::test {

using namespace std::chrono_literals;
using opencode::agent_event;

opencode::server_config quick_config() {
    opencode::server_config config;
    config.policy.base_delay = milliseconds(100);
    config.policy.max_delay = milliseconds(500);
    config.policy.max_attempts = 1000;
    config.turns.start_grace = seconds(3);
    config.turns.quiet_after = seconds(5);
    config.global_stream = std::getenv("HOLDFAST_TEST_GLOBAL_STREAM") != nullptr;
    return config;
}

opencode::server_config patient_config() {
    auto config = quick_config();
    config.turns.start_grace = patience;
    return config;
}

void warm_up(opencode_server& server) {
    held_server held(server.url(), patient_config());
    auto turn = held.prompt(held.new_session(server.directory()), "warm-up #plain");
    check_end(turn, opencode::outcome::completed, opencode::rule::message_finished,
              "Hello from the mock model.");
}

opencode::prompt text_prompt(std::string text) {
    opencode::prompt what;
    opencode::prompt_part part;
    part.text = std::move(text);
    what.parts.push_back(std::move(part));
    return what;
}

// --- one turn

struct held_turn::record {
    std::string session;
    std::optional<opencode::turn> handle; // used where the library runs
    mutable std::mutex mutex;             // guards what follows
    mutable std::condition_variable changed;
    std::string message;
    bool given = false;
    bool ended = false;
    bool cut_off = false; // aborted or detached by the test: not all of the text may be told
    events told;

    template <class Change>
    void change(Change what) {
        const std::lock_guard lock(mutex);
        what();
        changed.notify_all();
    }
    template <class Condition>
    bool wait(Condition what, std::chrono::milliseconds deadline) const {
        std::unique_lock lock(mutex);
        return changed.wait_for(lock, deadline, what);
    }
};

namespace {

std::string describe(const agent_event& event) {
    struct visitor {
        std::string operator()(const opencode::text_event& e) const { return "text '" + e.delta + "'"; }
        std::string operator()(const opencode::reasoning_event& e) const {
            return "reasoning '" + e.delta + "'";
        }
        std::string operator()(const opencode::tool_event& e) const {
            return "tool " + e.name + ' ' + e.state;
        }
        std::string operator()(const opencode::permission_event& e) const {
            return "permission " + e.request.id + ' ' + e.reply.value_or("?");
        }
        std::string operator()(const opencode::question_event& e) const {
            return "question " + e.request.id + ' ' + e.reply.value_or("?");
        }
        std::string operator()(const opencode::retry_event& e) const { return "retry '" + e.message + "'"; }
        std::string operator()(const opencode::usage_event&) const { return "usage"; }
        std::string operator()(const opencode::quiet_event& e) const { return "quiet " + e.status; }
        std::string operator()(const opencode::interrupted_event& e) const {
            return "interrupted " + e.failure.message;
        }
        std::string operator()(const opencode::gap_event& e) const {
            return e.missing ? "gap, missing" : "gap";
        }
        std::string operator()(const opencode::settlement& e) const {
            return std::string(to_string(e.outcome)) + " by " + std::string(to_string(e.rule)) + " (" +
                   e.event + ") text '" + e.text + "'" +
                   (e.error ? " error " + e.error->name + ": " + e.error->message : "");
        }
    };
    return std::visit(visitor{}, event);
}

std::string describe(const held_turn::events& all) {
    std::string text;
    for (const auto& each : all)
        text += "\n  " + describe(each);
    return text;
}

bool is_settlement(const agent_event& event) {
    return std::holds_alternative<opencode::settlement>(event);
}

void check_one_settlement_that_is_last(const held_turn::events& told) {
    BOOST_TEST(std::count_if(told.begin(), told.end(), is_settlement) == 1);
    BOOST_TEST((!told.empty() && is_settlement(told.back())), "the settlement is not the last event");
}

template <class Ask>
void check_each_told_once(const held_turn::events& told) {
    std::set<std::pair<std::string, bool>> seen;
    for (const auto& each : told)
        if (const auto* ask = std::get_if<Ask>(&each)) {
            const bool first = seen.emplace(ask->request.id, ask->reply.has_value()).second;
            BOOST_TEST(first, "told twice: " << describe(each));
        }
}

/// Nothing is said between the end of one stream and the repair by the next.
void check_no_text_before_a_repair(const held_turn::events& told) {
    bool broken = false;
    for (const auto& each : told) {
        const bool text = std::holds_alternative<opencode::text_event>(each) ||
                          std::holds_alternative<opencode::reasoning_event>(each);
        BOOST_TEST(!(broken && text), "told before the repair: " << describe(each));
        if (std::holds_alternative<opencode::interrupted_event>(each))
            broken = true;
        else if (std::holds_alternative<opencode::gap_event>(each))
            broken = false;
    }
}

void check_part(const std::string& told, const opencode::part& part, bool may_be_cut) {
    if (may_be_cut)
        BOOST_TEST(part.text.starts_with(told),
                   "part " << part.id << " told '" << told << "' of '" << part.text << "'");
    else
        BOOST_TEST(told == part.text,
                   "part " << part.id << " told '" << told << "', it is '" << part.text << "'");
}

} // namespace

void held_turn::wait_posted() const {
    if (!record_->wait([&] { return record_->given; }, patience))
        throw std::runtime_error("the prompt was not posted in time");
}

bool held_turn::is_posted() const {
    const std::lock_guard lock(record_->mutex);
    return record_->given;
}

std::string held_turn::message_id() const {
    wait_posted();
    const std::lock_guard lock(record_->mutex);
    return record_->message;
}

const std::string& held_turn::session_id() const {
    return record_->session;
}

held_turn::events held_turn::so_far() const {
    const std::lock_guard lock(record_->mutex);
    return record_->told;
}

bool held_turn::wait(const std::function<bool(const events&)>& wanted,
                     std::chrono::milliseconds deadline) const {
    bool came = false;
    record_->wait(
        [&] {
            came = wanted(record_->told);
            return came || record_->ended;
        },
        deadline);
    if (!came)
        BOOST_TEST_MESSAGE("waited in vain; so far:" << describe(so_far()) << "\nlog:\n" << server_->log());
    return came;
}

bool held_turn::wait_text() const {
    return wait([](const events& told) {
        return std::any_of(told.begin(), told.end(),
                           [](const auto& e) { return std::holds_alternative<opencode::text_event>(e); });
    });
}

namespace {

template <class Event, class Request>
Request wait_ask(const held_turn& turn) {
    std::optional<Request> open;
    turn.wait([&](const held_turn::events& told) {
        open.reset();
        for (const auto& each : told)
            if (const auto* ask = std::get_if<Event>(&each)) {
                if (!ask->reply)
                    open = ask->request;
                else if (open && open->id == ask->request.id)
                    open.reset();
            }
        return open.has_value();
    });
    if (!open)
        throw std::runtime_error("nothing was asked");
    return *open;
}

} // namespace

opencode::permission_request held_turn::wait_permission() const {
    return wait_ask<opencode::permission_event, opencode::permission_request>(*this);
}

opencode::question_request held_turn::wait_question() const {
    return wait_ask<opencode::question_event, opencode::question_request>(*this);
}

std::map<std::string, std::string> held_turn::texts() const {
    std::map<std::string, std::string> parts;
    for (const auto& each : so_far()) {
        if (const auto* text = std::get_if<opencode::text_event>(&each))
            parts[text->part] += text->delta;
        if (const auto* text = std::get_if<opencode::reasoning_event>(&each))
            parts[text->part] += text->delta;
    }
    return parts;
}

std::string held_turn::told_text() const {
    std::string text;
    for (const auto& each : all<opencode::text_event>())
        text += each.delta;
    return text;
}

std::string held_turn::told_reasoning() const {
    std::string text;
    for (const auto& each : all<opencode::reasoning_event>())
        text += each.delta;
    return text;
}

bool held_turn::told_missing() const {
    const auto gaps = all<opencode::gap_event>();
    return std::any_of(gaps.begin(), gaps.end(), [](const auto& gap) { return gap.missing; });
}

result<void> held_turn::abort() {
    wait_posted();
    record_->change([&] { record_->cut_off = true; });
    return server_->await(record_->handle->abort());
}

result<void> held_turn::reply_permission(const std::string& id, const std::string& reply) {
    return server_->await(record_->handle->reply_permission(id, reply));
}

result<void> held_turn::reply_question(const std::string& id,
                                       const std::vector<std::vector<std::string>>& answers) {
    return server_->await(record_->handle->reply_question(id, answers));
}

result<void> held_turn::reject_question(const std::string& id) {
    return server_->await(record_->handle->reject_question(id));
}

void held_turn::detach() {
    wait_posted();
    record_->change([&] { record_->cut_off = true; });
    server_->inside([&] { record_->handle->detach(); });
}

opencode::settlement held_turn::settled(std::chrono::milliseconds deadline) {
    const bool ended = record_->wait([&] { return record_->ended; }, deadline);
    const auto told = so_far();
    BOOST_TEST_MESSAGE("events of " << record_->session << ':' << describe(told));
    if (!ended)
        throw std::runtime_error("no settlement; log:\n" + server_->log());
    check_one_settlement_that_is_last(told);
    check_no_text_before_a_repair(told);
    check_each_told_once<opencode::permission_event>(told);
    check_each_told_once<opencode::question_event>(told);
    const auto how = std::get<opencode::settlement>(told.back());
    const auto there = server_->await(server_->rest().messages(record_->session, 0, {}));
    if (!there || told_missing())
        return how;
    // Where an answer was cut short, the server keeps no text of a part that never ended.
    using opencode::outcome;
    const bool may_be_cut =
        record_->cut_off || how.outcome == outcome::lost || how.outcome == outcome::detached;
    const auto parts = texts();
    for (const auto& message : there->messages)
        for (const auto& part : message.parts) {
            if (!message.info.assistant || (part.type != "text" && part.type != "reasoning") ||
                part.text.empty())
                continue;
            const auto known = parts.find(part.id);
            const bool own = message.info.parent_id == record_->message && !message.info.summary;
            if (known != parts.end() || own)
                check_part(known == parts.end() ? std::string() : known->second, part, may_be_cut);
        }
    return how;
}

void check_end(held_turn& turn, opencode::outcome outcome, opencode::rule rule, std::string_view text) {
    const auto how = turn.settled();
    BOOST_TEST(to_string(how.outcome) == to_string(outcome));
    BOOST_TEST(to_string(how.rule) == to_string(rule));
    BOOST_TEST(how.text == text);
}

// --- the server

struct held_server::log_lines {
    mutable std::mutex mutex;
    std::string text;

    void add(const log_record& record) {
        const std::lock_guard lock(mutex);
        text += "  " + std::string(record.event) + ' ' + std::string(record.session) + ' ' +
                std::string(record.error_class) + ' ' + std::string(record.error_message) + ' ' +
                std::string(record.action) + '\n';
    }
};

class held_server::io_thread {
public:
    explicit io_thread(net::io_context& io)
        : io_(io), work_(io.get_executor()), thread_([&io] { io.run(); }) {}
    ~io_thread() {
        work_.reset();
        io_.stop();
        thread_.join();
    }
    io_thread(const io_thread&) = delete;
    io_thread& operator=(const io_thread&) = delete;

private:
    net::io_context& io_;
    net::executor_work_guard<net::io_context::executor_type> work_;
    std::thread thread_;
};

namespace {

http::url parsed(const std::string& url) {
    auto there = http::parse_url(url);
    if (!there)
        throw std::invalid_argument(there.error().message);
    return *there;
}

} // namespace

held_server::held_server(const std::string& url, opencode::server_config config)
    : log_(std::make_shared<log_lines>()), io_(1),
      world_(io_.get_executor(), [log = log_](const log_record& record) { log->add(record); }),
      server_(world_, parsed(url), config), rest_(world_, parsed(url), config.rest),
      run_(net::co_spawn(io_, server_.run(), net::use_future)), thread_(std::make_unique<io_thread>(io_)) {}

held_server::~held_server() {
    server_.stop();
    const bool stopped = run_.wait_for(patience) == std::future_status::ready;
    BOOST_TEST(stopped, "run() does not return after stop(); log:\n" << log());
    try {
        inside([this] {
            for (const auto& each : turns_)
                each->handle.reset();
            sessions_.clear();
        });
    } catch (const std::exception& e) {
        BOOST_TEST(false, e.what());
    }
}

void held_server::inside(std::function<void()> what) {
    auto run = [](std::function<void()> it) -> net::awaitable<void> {
        it();
        co_return;
    };
    await(run(std::move(what)));
}

void held_server::keep(result<opencode::session> made) {
    if (!made)
        throw std::runtime_error("no session: " + made.error().message);
    auto& session = *made;
    inside([&] { sessions_.insert_or_assign(session.id(), session); });
}

std::string held_server::new_session(const std::string& directory) {
    auto made = await(server_.create_session(opencode::session_request(), directory));
    if (!made)
        throw std::runtime_error("no session: " + made.error().message);
    const auto id = made->id();
    keep(std::move(made));
    return id;
}

void held_server::open_session(const std::string& id) {
    keep(await(server_.open_session(id)));
}

net::awaitable<void>
held_server::collect(std::shared_ptr<held_turn::record> into, opencode::session session,
                     std::function<net::awaitable<opencode::turn>(opencode::session&)> make) {
    auto op = make(session);
    into->handle = co_await std::move(op);
    into->change([&] {
        into->message = into->handle->message_id();
        into->given = true;
    });
    while (auto event = co_await into->handle->next())
        into->change([&] { into->told.push_back(std::move(*event)); });
    into->change([&] { into->ended = true; });
}

held_turn held_server::begin(const std::string& session,
                             std::function<net::awaitable<opencode::turn>(opencode::session&)> make) {
    auto record = std::make_shared<held_turn::record>();
    record->session = session;
    inside([&] {
        turns_.push_back(record);
        auto work = collect(record, sessions_.at(session), std::move(make));
        net::co_spawn(io_, std::move(work),
                      [record](std::exception_ptr) { record->change([&] { record->ended = true; }); });
    });
    return held_turn(*this, std::move(record));
}

held_turn held_server::begin_prompt(const std::string& session, opencode::prompt what) {
    return begin(session, [what = std::move(what)](opencode::session& s) { return s.prompt(what); });
}

held_turn held_server::begin_prompt(const std::string& session, const std::string& text) {
    return begin_prompt(session, text_prompt(text));
}

held_turn held_server::prompt(const std::string& session, opencode::prompt what) {
    auto turn = begin_prompt(session, std::move(what));
    turn.wait_posted();
    return turn;
}

held_turn held_server::prompt(const std::string& session, const std::string& text) {
    return prompt(session, text_prompt(text));
}

held_turn held_server::adopt(const std::string& session, const std::string& message) {
    auto turn = begin(session, [message](opencode::session& s) { return s.adopt(message); });
    turn.wait_posted();
    return turn;
}

result<void> held_server::abort(const std::string& session) {
    for (const auto& each : turns_)
        if (each->session == session)
            each->change([&] { each->cut_off = true; });
    return await(sessions_.at(session).abort());
}

result<opencode::server_info> held_server::ready() {
    return await(server_.ready());
}

void held_server::wake() {
    inside([this] { server_.wake(); });
}

void held_server::stop() {
    server_.stop();
}

std::string held_server::log() const {
    const std::lock_guard lock(log_->mutex);
    return log_->text;
}

// --- both

namespace {
held_world* the_world = nullptr;
} // namespace

held_world::held_world() : held_(opencode_world::server().url()) {
    the_world = this;
    warm_up(opencode_world::server());
}

held_world::~held_world() {
    the_world = nullptr;
}

held_server& held_world::held() {
    return the_world->held_;
}

} // namespace holdfast::test
