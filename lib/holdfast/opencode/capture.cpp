#include <holdfast/opencode/capture.hpp>

#include <holdfast/opencode/session_core.hpp>

#include <algorithm>
#include <set>
#include <utility>

namespace holdfast::opencode::detail {
namespace {

constexpr std::size_t max_known_sessions = 4096;
constexpr std::size_t max_depth = 16;
constexpr unsigned max_lookups = 64; // of who asks, in one view of a directory

} // namespace

/// One of the things that may be under way at once. It may be the last that holds the server.
class captures::slot {
public:
    explicit slot(captures& of) : server_(of.server_.shared_from_this()), of_(of) { ++of_.taken_; }
    ~slot() {
        --of_.taken_;
        of_.look_soon();
    }
    slot(const slot&) = delete;
    slot& operator=(const slot&) = delete;

private:
    std::shared_ptr<server_core> server_;
    captures& of_;
};

captures::captures(server_core& server, task_scope& scope)
    : server_(server), scope_(scope), changed_(server.world), phase_(server.world.now()) {}

net::awaitable<void> captures::run() {
    const auto server = server_.shared_from_this();
    phase_ =
        server_.world.now() - duration(server_.world.random() % static_cast<std::uint64_t>(tick().count()));
    struct ending {
        captures& self;
        ~ending() { self.server_.world.uncount(metric::sessions_captured, std::exchange(self.counted_, 0)); }
    } const ending{*this};
    for (;;)
        co_await changed_.wait(begin_looks());
}

duration captures::tick() const {
    return std::max<duration>(server_.config.capture.tick, milliseconds(1));
}

time_point captures::next_tick() const {
    return phase_ + tick() * ((server_.world.now() - phase_) / tick() + 1);
}

bool captures::is_full() const {
    return taken_ >= std::max<std::size_t>(server_.config.capture.concurrent, 1);
}

// At another endpoint nobody waits for the old one.
void captures::notice_a_move() {
    if (!server_.config.locate)
        return;
    const auto now_at = server_.rest().base().where;
    if (where_ && *where_ != now_at) {
        where_ = now_at;
        server_.wake();
    }
    where_ = now_at;
}

// For good, its owner says. One that is streamed is told so by its stream.
void captures::end_all() {
    for (const auto& session : server_.captured())
        session->on_gone();
}

// While an endpoint does not answer, one attempt at a time is enough for all: what others tried since a
// session's last look counts as a look of it.
void captures::share_a_failure() {
    const auto where = server_.rest().base().where;
    const auto breaker = server_.world.breaker_of(where);
    if (!breaker || !breaker->open)
        return;
    for (const auto& session : server_.captured()) {
        const auto& last = session->capture().last();
        const bool waits = last && session->capture().failures() > 0 && retry::blames_endpoint(last->why) &&
                           last->when < breaker->last_at;
        if (waits && session->next_look() <= server_.world.now())
            session->look_failed(breaker->last, random_);
    }
}

/// Begins what is due, and says when more will be.
time_point captures::begin_looks() {
    notice_a_move();
    share_a_failure();
    if (server_.is_gone())
        end_all();
    auto next = server_.config.locate ? next_tick() : time_point::max();
    if (begin_waiting())
        return next;
    std::multimap<time_point, std::shared_ptr<session_core>>
        due; // in a turn that all get, also where there are too many
    auto all = server_.captured();
    by_directory_.clear();
    server_.world.uncount(metric::sessions_captured, std::exchange(counted_, all.size()));
    server_.world.count(metric::sessions_captured, counted_);
    for (auto& session : all) {
        by_directory_[session->info().directory].push_back(session);
        const auto at = session->next_look();
        if (at <= server_.world.now())
            due.emplace(at, std::move(session));
        else
            next = std::min(next, at);
    }
    if (due.empty())
        return next;
    // While a stream sees to an endpoint that does not answer, or its owner says that it is down, nobody else
    // asks.
    if (server_.streams_probe() || !server_.is_up()) {
        for (const auto& [at, session] : due)
            session->put_off_look(next_tick());
        return std::min(next, next_tick());
    }
    for (const auto& [at, session] : due)
        waiting_.push_back(session);
    static_cast<void>(begin_waiting());
    return next;
}

/// Goes on with those that were due at the last count: to count all again for each that can begin would take
/// longer than the looks. True: not all could begin.
bool captures::begin_waiting() {
    if (server_.streams_probe() || !server_.is_up())
        waiting_.clear(); // who is due is put off
    while (!waiting_.empty() && !is_full()) {
        const auto session = waiting_.front().lock();
        waiting_.pop_front();
        if (session && session->next_look() <= server_.world.now())
            begin_look(session);
    }
    return !waiting_.empty();
}

bool captures::is_usable(const place& where, const session_core& session) const {
    return where.seen && session.is_marked(where.number) && server_.world.now() - where.at < tick() / 2;
}

void captures::begin_look(const std::shared_ptr<session_core>& session) {
    auto seen = std::make_shared<const directory_view>();
    if (session->is_located()) {
        const auto& directory = session->info().directory;
        auto& where = places_[directory];
        if (where.asking)
            return;
        if (!is_usable(where, *session))
            return begin_view(where, directory);
        seen = where.seen;
    }
    session->look_begins(next_tick());
    scope_.spawn(look_at(session, std::move(seen), std::make_shared<slot>(*this)));
}

void captures::begin_view(place& where, const std::string& directory) {
    where.seen.reset();
    where.asking = true;
    where.at = server_.world.now();
    where.number = ++views_;
    for (const auto& each : by_directory_[directory]) {
        const auto session = each.lock();
        if (session && session->info().directory == directory && session->next_look() != time_point::max())
            session->mark_look(where.number);
    }
    scope_.spawn(view(directory, std::make_shared<slot>(*this)));
}

net::awaitable<void> captures::view(std::string directory, [[maybe_unused]] std::shared_ptr<slot> mine) {
    const auto server = server_.shared_from_this();
    struct asking {
        bool& flag;
        ~asking() { flag = false; }
    } const done{places_[directory].asking};
    const auto seen = co_await fetch_view(directory);
    forget_old_places();
    if (seen) {
        places_[directory].seen = *seen;
        on_answer();
        co_return;
    }
    sessions waiting;
    for (auto& session : server_.captured())
        if (session->info().directory == directory && session->next_look() <= server_.world.now())
            waiting.push_back(std::move(session));
    on_failure(waiting, seen.error());
}

void captures::forget_old_places() {
    const auto old = server_.world.now() - 10 * tick();
    std::erase_if(places_, [&](const auto& each) { return !each.second.asking && each.second.at < old; });
}

net::awaitable<void> captures::look_at(std::shared_ptr<session_core> session,
                                       std::shared_ptr<const directory_view> seen,
                                       [[maybe_unused]] std::shared_ptr<slot> mine) {
    const auto server = server_.shared_from_this();
    server_.world.count(metric::captures);
    struct ending { // also when it ends by an exception
        session_core& looked_at;
        ~ending() { looked_at.look_ends(); }
    } const ending{*session};
    const auto done = co_await session->look(std::move(seen));
    const sessions alone(1, session); // no list of initializers: g++ 12 frees those twice in a coroutine
    if (!done)
        co_return on_failure(alone, done.error());
    session->look_succeeded();
    on_answer();
}

net::awaitable<result<std::shared_ptr<const directory_view>>> captures::fetch_view(std::string directory) {
    auto rest = server_.rest_for_looks();
    auto step = co_await check_who_answers();
    if (!step)
        co_return step.error();
    const auto view = std::make_shared<directory_view>();
    if (!server_.speech().has_directory_views())
        co_return std::shared_ptr<const directory_view>(view); // each session is asked for itself
    auto status = co_await rest.status(directory);
    if (!status)
        co_return status.error();
    view->status = std::move(*status);
    if (view->status.empty())
        co_return std::shared_ptr<const directory_view>(view); // nothing is at work: nobody asks
    auto permissions = co_await rest.permissions(directory);
    if (!permissions)
        co_return permissions.error();
    auto questions = co_await rest.questions(directory);
    if (!questions)
        co_return questions.error();
    std::map<std::string, std::string> roots; // of each that asks
    for (const auto& each : *permissions)
        roots[each.session_id];
    for (const auto& each : *questions)
        roots[each.session_id];
    unsigned lookups = 0;
    for (auto& [asker, root] : roots) {
        auto descent = co_await find_descent(asker, lookups);
        if (!descent)
            co_return descent.error();
        root = descent->empty() ? asker : descent->front().parent_id;
        auto& children = view->asks[root].children;
        children.insert(children.end(), descent->begin(), descent->end());
    }
    for (auto& each : *permissions)
        view->asks[roots[each.session_id]].permissions.push_back(std::move(each));
    for (auto& each : *questions)
        view->asks[roots[each.session_id]].questions.push_back(std::move(each));
    co_return std::shared_ptr<const directory_view>(view);
}

// The sessions above one, itself the last; none: it is a root, or it is not known. What a session is below is
// told by itself alone. One that is not known any more asks nobody. Of very many, the others are found at the
// next look.
net::awaitable<result<std::vector<session_info>>> captures::find_descent(std::string session,
                                                                         unsigned& lookups) {
    auto rest = server_.rest_for_looks();
    std::vector<session_info> descent;
    std::string above = std::move(session);
    while (!above.empty() && descent.size() < max_depth) {
        auto found = known_.find(above);
        if (found == known_.end()) {
            if (strangers_.contains(above) || lookups++ >= max_lookups)
                co_return std::vector<session_info>();
            auto told = co_await rest.get_session(above);
            if (!told && told.error().code == errc::not_found) {
                remember_stranger(above);
                co_return std::vector<session_info>();
            }
            if (!told)
                co_return told.error();
            if (known_.size() >= max_known_sessions)
                known_.clear();
            found = known_.emplace(above, std::move(*told)).first;
        }
        if (found->second.parent_id.empty())
            break;
        descent.insert(descent.begin(), found->second);
        above = found->second.parent_id;
    }
    co_return descent;
}

void captures::remember_stranger(const std::string& session) {
    if (strangers_.size() >= max_known_sessions)
        strangers_.clear();
    strangers_.insert(session);
}

// Where nothing answered for a while, another server may answer now.
net::awaitable<result<void>> captures::check_who_answers() {
    if (answers_ && !version_.empty())
        co_return result<void>();
    const auto rest = server_.rest_for_looks();
    const auto told = co_await server_.identify(rest);
    if (!told && told.error().connected && !version_.empty() && retry::is_final(told.error()) &&
        told.error().status != 401)
        co_return retry::make_failure(errc::another_server, told.error().message, true);
    if (!told)
        co_return told.error();
    if (!version_.empty() && version_ != told->version) {
        log_record record;
        record.event = "server.version_changed";
        record.endpoint = to_string(rest.base().where);
        record.tag = server_.config.tag;
        record.action = version_ + " to " + told->version;
        server_.world.log(record);
    }
    version_ = told->version;
    co_return result<void>();
}

// A failure of the endpoint is one of all who would ask it: they wait together, and it is told once.
void captures::on_failure(const sessions& looked_at, const failure& why) {
    const auto now = server_.world.now();
    const bool of_all = retry::blames_endpoint(why);
    if (now - std::exchange(failed_at_, now) > seconds(1))
        random_ = server_.world.random();
    server_.world.count(metric::captures_failed);
    for (const auto& session : looked_at) {
        session->look_failed(why, random_);
        if (!of_all || session == looked_at.front())
            session->report_look();
    }
    if (of_all) {
        answers_ = false;
        for (const auto& session : server_.captured())
            if (session->next_look() <= now || session->is_untroubled())
                session->look_failed(why, random_);
    }
    look_soon();
}

void captures::on_answer() {
    if (std::exchange(answers_, true))
        return;
    strangers_.clear(); // another server may know them
    endpoint_answers();
}

// It may be another server that answers now: answers_ stays as it is, until that is checked.
void captures::endpoint_answers() {
    for (const auto& session : server_.captured())
        session->endpoint_answers();
    look_soon();
}

} // namespace holdfast::opencode::detail
