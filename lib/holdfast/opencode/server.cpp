#include <holdfast/opencode/server.hpp>

#include <holdfast/opencode/protocol/v1/server.hpp>
#include <holdfast/opencode/protocol/v2/server.hpp>
#include <holdfast/opencode/session_core.hpp>
#include <holdfast/runtime/cancellation.hpp>
#include <holdfast/runtime/with_deadline.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <charconv>
#include <exception>
#include <filesystem>
#include <stdexcept>
#include <utility>

namespace holdfast::opencode {

retry::policy server_policy() noexcept {
    auto p = retry::session_stream();
    p.jitter = retry::jitter::equal;
    return p;
}

namespace detail {
namespace {

constexpr unsigned first_minor_with_event_streams = 15;
const std::string everywhere = "*"; // the key of the stream of all directories; none is called so
constexpr std::size_t large_at_once =
    2; // answers of megabytes, of one server: each takes several times its size

// A stream says in the same words as a call why it is not let in.
result<void> rejected_credentials(const http::response_head& head) {
    if (head.status != 401)
        return result<void>();
    http::response answer;
    answer.head = head;
    return make_api_failure(answer, wall_time());
}

/// Whether they name one directory, as far as names tell: the server resolves links too.
bool is_same_directory(const std::string& asked, const std::string& made) {
    const auto plain = [](const std::string& name) {
        auto text = std::filesystem::path(name).lexically_normal().string();
        if (text.size() > 1 && text.ends_with('/'))
            text.pop_back();
        return text;
    };
    return plain(asked) == plain(made);
}

} // namespace

// --- server_core

namespace {

// One context for all calls. If it cannot be made, each call will say why.
server_config with_trust(server_config config, const http::url& base) {
    static_cast<void>(http::see_to_trust(config.rest.transport, base.where));
    return config;
}

server_config with_places(server_config config, const runtime& world) {
    if (!config.rest.places)
        config.rest.places = std::make_shared<call_places>(world, config.max_reads, large_at_once);
    return config;
}

} // namespace

server_core::server_core(const runtime& w, http::url b, server_config c)
    : world(w), base(std::move(b)), config(with_places(with_trust(std::move(c), base), w)),
      speech_(config.protocol == protocol::v2 ? v2::make_server_protocol(v2::current_dialect())
                                              : v1::make_server_protocol()),
      sure_(config.protocol != protocol::v2), // not in which dialect
      scope_(w,
             [this](std::exception_ptr error) {
                 log_record record;
                 record.level = log_level::error;
                 record.event = "server.task_failed";
                 record.tag = config.tag;
                 record.error_message = what_of(error);
                 world.log(record);
             }),
      captures_(*this, scope_), changed_(w), last_up_(base) {}

stream::location server_core::locate() const {
    stream::location here;
    if (world.ended()) { // what it would ask may be gone
        here.what = stream::location::state::gone;
        return here;
    }
    here.url = base;
    if (!config.locate)
        return here;
    try {
        here = config.locate();
        if (here.what == stream::location::state::up)
            move_to(here.url);
        return here;
    } catch (...) {
        log_record record;
        record.level = log_level::error;
        record.event = "server.locate_threw";
        record.tag = config.tag;
        record.error_message = what_of(std::current_exception());
        world.log(record);
        here.what = stream::location::state::down;
        return here;
    }
}

// What failed where it was before is over.
void server_core::move_to(const http::url& there) const {
    if (last_up_.where != there.where) {
        log_record record;
        record.endpoint = to_string(last_up_.where);
        world.left(record);
    }
    last_up_ = there;
}

std::string server_core::stream_key(const std::string& directory) const {
    return has_one_stream() ? std::string() : directory;
}

std::string server_core::stream_key(const session_core& session) const {
    const bool is_over_there = !has_one_stream() && hears_everywhere(session.info().id);
    return is_over_there ? everywhere : stream_key(session.info().directory);
}

bool server_core::hears_everywhere(const std::string& session) const {
    if (has_one_stream())
        return true;
    const auto found = streams_.find(everywhere);
    return found != streams_.end() && found->second->hub->has(session);
}

// While it is down, calls go to where it was last, not to where it was first: another server may be there by
// now.
client server_core::rest() const {
    const auto where = locate();
    return client(world, where.what == stream::location::state::up ? where.url : last_up_, config.rest,
                  server_time);
}

client server_core::rest_for_looks() const {
    const auto where = rest().base();
    auto how = config.rest;
    auto& limits = how.transport.deadlines;
    limits.connect = std::min(limits.connect, config.capture.deadline);
    limits.exchange = std::min(limits.exchange, config.capture.deadline);
    return client(world, where, std::move(how), server_time);
}

net::awaitable<void> server_core::pause(duration d) {
    co_await changed_.wait(later(world.now(), d));
}

net::awaitable<void> server_core::run() {
    if (std::exchange(running_, true))
        co_return;
    // A root of its own: when we are cancelled it can still wait for its children.
    co_await net::co_spawn(world.executor(), run_root(), net::use_awaitable);
    co_await throw_if_cancelled();
}

net::awaitable<void> server_core::run_root() {
    const auto self = shared_from_this();
    co_await net::post(world.executor(), net::use_awaitable); // see with_deadline.hpp
    const auto wake_up = stop_.on_request([this] { changed_.notify_all(); });
    scope_.spawn(world.write_incidents());
    try {
        while (!stop_.requested())
            co_await changed_.wait();
    } catch (const boost::system::system_error&) {
        stop_.request();
    }
    co_await net::this_coro::reset_cancellation_state(net::disable_cancellation());
    const auto sessions = std::exchange(sessions_, {});
    for (const auto& [id, session] : sessions) {
        session->close_all(outcome::detached, rule::detached, std::nullopt, reprompt::no);
        session->close_feeds();
    }
    scope_.cancel();
    co_await scope_.join();
    streams_.clear();
    running_ = false;
}

void server_core::stop() {
    if (!stop_asked_.exchange(true))
        world.post([self = shared_from_this()] { self->stop_.request(); });
}

// Whether what is asked for will be looked after. Who is spawned together with run() may come first.
net::awaitable<result<void>> server_core::can_hold() {
    constexpr int patience = 16; // turns of the executor
    for (int n = 0; n < patience && !running_ && !stopped(); ++n)
        co_await net::post(world.executor(), net::use_awaitable);
    if (stopped())
        co_return stopped_failure();
    if (!running_)
        throw std::logic_error("the server does not run: spawn server::run() beside what uses it");
    co_return result<void>();
}

namespace {

server_info info_of(const server_identity& seen) {
    server_info told(seen.version);
    told.speaks = seen.dialect ? protocol::v2 : protocol::v1;
    return told;
}

} // namespace

// OpenCode before 1.15 ends /event right after its first event (its issues 26697 and 26866); /global/event
// holds.
result<server_info> server_core::can_be_held(const server_identity& seen) const {
    auto told = info_of(seen);
    if (seen.dialect)
        return told;
    unsigned minor = 0;
    const auto digits = std::string_view(told.version).substr(std::string_view("1.").size());
    const bool known = std::from_chars(digits.data(), digits.data() + digits.size(), minor).ec == std::errc();
    if (config.global_stream || !known || minor >= first_minor_with_event_streams)
        return told;
    return retry::make_failure(
        errc::unsupported_version,
        "version " + told.version +
            " ends the event stream of a directory at once: hold it by its global stream",
        true);
}

// --- which protocol it speaks

namespace {

/// A call of one protocol, made to a server of another: 2.x serves its web app, or nothing.
bool is_of_another_protocol(const failure& why) {
    const bool is_no_route = why.status == 405 || (why.status == 404 && why.body.empty());
    const bool is_a_page = why.code == errc::not_opencode || why.code == errc::bad_content_type;
    return is_no_route || (is_a_page && why.status == 200);
}

} // namespace

bool server_core::has_stream() const {
    return std::any_of(streams_.begin(), streams_.end(),
                       [](const auto& each) { return each.second->hub->acknowledged(); });
}

net::awaitable<result<server_identity>> server_core::ask_who_answers(client server) const {
    if (config.protocol == protocol::v2)
        co_return co_await server.identify_2();
    if (config.protocol == protocol::automatic)
        co_return co_await server.identify();
    const auto told = co_await server.health();
    if (!told)
        co_return told.error();
    co_return server_identity(told->version, nullptr);
}

net::awaitable<result<server_identity>> server_core::identify(client asked) {
    const auto self = shared_from_this();
    const auto found = co_await ask_who_answers(std::move(asked));
    if (found && !stopped())
        speak(*found);
    co_return found;
}

net::awaitable<void> server_core::make_sure() {
    const auto self = shared_from_this();
    while (identifying_)
        co_await changed_.wait();
    if (sure_ || !speech_->is_to_be_checked() || stopped())
        co_return;
    struct asking {
        server_core& of;
        ~asking() {
            of.identifying_ = false;
            of.changed_.notify_all();
        }
    };
    identifying_ = true;
    const asking now{*this};
    static_cast<void>(co_await identify(rest_for_looks()));
}

net::awaitable<bool> server_core::is_another(const std::optional<failure>& why) {
    const auto self = shared_from_this();
    if (!why || config.protocol != protocol::automatic || stopped() || !is_of_another_protocol(*why))
        co_return false;
    const auto before = speech_;
    static_cast<void>(co_await identify(rest_for_looks()));
    co_return speech_ != before;
}

// Sessions go on where they are: what is open in them the new one decides.
void server_core::speak(const server_identity& found) {
    sure_ = true;
    const auto before = std::exchange(version_, found.version);
    const auto next = found.dialect ? v2::make_server_protocol(*found.dialect) : v1::make_server_protocol();
    if (next->name() == speech_->name())
        return;
    const auto was = std::exchange(speech_, next);
    const auto streams = std::exchange(streams_, {});
    for (const auto& [key, stream] : streams)
        stream->hub->close();
    if (!before.empty() || !sessions_.empty()) {
        log_record record;
        record.event = "server.protocol_changed";
        record.endpoint = to_string(last_up_.where);
        record.tag = config.tag;
        record.action = std::string(was->name()) + " to " + std::string(next->name());
        world.log(record);
    }
    for (const auto& [id, session] : std::map(sessions_))
        session->speak_anew();
}

net::awaitable<result<server_info>> server_core::health() {
    const auto self = shared_from_this();
    const auto seen = co_await identify(rest());
    if (!seen)
        co_return seen.error();
    co_return info_of(*seen);
}

// Where no stream tells, another server may have taken the place of the one that was there.
net::awaitable<result<session_info>> server_core::get_session(std::string id) {
    const auto self = shared_from_this();
    if (!has_stream())
        co_await make_sure();
    call_of<session_info> call = [id](const server_protocol& speech, client server) {
        return speech.get_session(std::move(server), id);
    };
    co_return co_await make_call(std::move(call));
}

net::awaitable<result<session_list>> server_core::list_sessions(session_query which) {
    const auto self = shared_from_this();
    call_of<session_list> call = [which](const server_protocol& speech, client server) {
        return speech.list_sessions(std::move(server), which);
    };
    co_return co_await make_call(std::move(call));
}

net::awaitable<result<server_info>> server_core::ready() {
    const auto self = shared_from_this();
    retry::schedule schedule(config.policy);
    if (stopped())
        co_return stopped_failure();
    for (;;) {
        const auto server = rest();
        const auto seen = co_await identify(server);
        if (seen)
            co_return can_be_held(*seen);
        const auto next = schedule.on_end(seen.error(), duration::zero(), world.now(), world.random());
        if (next.give_up)
            co_return seen.error();
        log_record record;
        record.level = log_level::warn;
        record.event = "server.not_ready";
        record.endpoint = to_string(server.base().where);
        record.tag = config.tag;
        record.error_class = retry::to_string(seen.error().cls);
        record.error_message = seen.error().message;
        record.failures = schedule.failures();
        record.action = "retry";
        record.retry_in_ms = to_ms(next.delay);
        world.report(record);
        co_await pause(next.delay);
        if (stopped())
            co_return stopped_failure();
    }
}

net::awaitable<result<session>> server_core::create_session(session_request what, std::string directory) {
    const auto self = shared_from_this();
    if (const auto held = co_await can_hold(); !held)
        co_return held.error();
    if (!has_stream())
        co_await make_sure();
    call_of<session_info> call = [what, directory](const server_protocol& speech, client server) {
        return speech.create_session(std::move(server), what, directory);
    };
    auto made = co_await make_call(std::move(call));
    if (!made)
        co_return made.error();
    if (!directory.empty() && !is_same_directory(directory, made->directory))
        log_elsewhere(*made, directory);
    co_return session(hold(std::move(*made))->lease());
}

void server_core::log_stray(const std::string& session, const std::string& tag, const api_error& error) {
    log_record record;
    record.level = log_level::warn;
    record.event = session.empty() ? "server.error" : "session.error";
    record.endpoint = to_string(last_up_.where);
    record.session = session;
    record.tag = tag;
    record.error_class = "server";
    record.error_message = error.name.empty() ? error.message : error.name + ": " + error.message;
    const auto told = session + ' ' + record.error_message;
    if (told == stray_ && world.now() < later(stray_at_, minutes(1)))
        return;
    stray_ = told;
    stray_at_ = world.now();
    world.log(record);
}

void server_core::log_elsewhere(const session_info& made, const std::string& asked) const {
    log_record record;
    record.level = log_level::warn;
    record.event = "session.elsewhere";
    record.endpoint = to_string(last_up_.where);
    record.session = made.id;
    record.tag = config.tag;
    record.error_message =
        "the session is in directory " + made.directory + ", not in " + asked + " as requested";
    world.log(record);
}

net::awaitable<result<session>> server_core::open_session(std::string id) {
    const auto self = shared_from_this();
    if (const auto held = co_await can_hold(); !held)
        co_return held.error();
    auto found = co_await get_session(std::move(id));
    if (!found)
        co_return found.error();
    co_return session(hold(std::move(*found))->lease());
}

// A server that is out of reach is waited for by the policy, as the prompt of a session waits for its stream:
// who reprompts at once, as the settlement allows, must not hammer it.
net::awaitable<turn> server_core::prompt(opencode::prompt what) {
    const auto self = shared_from_this();
    retry::schedule schedule(config.policy);
    for (;;) {
        auto made = co_await create_session({}, {});
        if (made)
            co_return co_await made->prompt(std::move(what));
        auto why = made.error();
        const auto next = schedule.on_end(why, duration::zero(), world.now(), world.random());
        if (!next.give_up)
            co_await pause(next.delay);
        if (stopped())
            why = stopped_failure();
        if (next.give_up || stopped()) {
            const auto nowhere = std::make_shared<session_core>(self, session_info());
            co_return nowhere->unposted(std::move(what), why);
        }
    }
}

// A call that ends after all was stopped gives a session that nobody keeps.
std::shared_ptr<session_core> server_core::hold(session_info info) {
    if (stopped())
        return std::make_shared<session_core>(shared_from_this(), std::move(info));
    auto& held = sessions_[info.id];
    if (held) {
        held->locate(std::move(info));
    } else {
        held = std::make_shared<session_core>(shared_from_this(), std::move(info));
        held->supervisor = scope_.spawn(held->supervise());
    }
    return held;
}

feed server_core::follow(std::string id, follow_by how) {
    session_info info;
    info.id = std::move(id);
    if (stopped()) {
        const auto nowhere = std::make_shared<session_core>(shared_from_this(), std::move(info));
        return feed(nowhere->follow(how));
    }
    if (!std::exchange(capturing_, true))
        scope_.spawn(captures_.run());
    return feed(hold(std::move(info))->follow(how));
}

void server_core::look_soon() {
    captures_.look_soon();
}

std::vector<std::shared_ptr<session_core>> server_core::captured() const {
    std::vector<std::shared_ptr<session_core>> all;
    for (const auto& [id, session] : sessions_)
        if (session->is_captured())
            all.push_back(session);
    return all;
}

bool server_core::streams_probe() const {
    const bool trying = std::any_of(streams_.begin(), streams_.end(), [](const auto& each) {
        return each.second->hub->running() && !each.second->hub->acknowledged();
    });
    const auto breaker = trying ? world.breaker_of(last_up_.where) : std::nullopt;
    return breaker && breaker->open;
}

bool server_core::streams_to(const std::string& directory, const std::string& session) const {
    const auto found = streams_.find(stream_key(directory));
    const bool is_there = found != streams_.end() && found->second->hub->has(session);
    return is_there || (!has_one_stream() && hears_everywhere(session));
}

bool server_core::has_room_for(const std::string& directory) const {
    const auto of_directories = streams_.size() - streams_.count(everywhere);
    return has_one_stream() || streams_.contains(directory) || of_directories < config.max_streams;
}

void server_core::release(const std::shared_ptr<session_core>& session) {
    const auto found = sessions_.find(session->info().id);
    if (found == sessions_.end() || found->second != session)
        return;
    scope_.cancel(session->supervisor);
    sessions_.erase(found);
    log_record record;
    record.endpoint = to_string(last_up_.where);
    record.session = session->info().id;
    world.left(record);
    unfollow(*session);
    if (!session->left().empty())
        unfollow(session->left(), session->info().id);
}

void server_core::follow(const std::string& directory, const std::shared_ptr<session_core>& who) {
    if (stop_.requested())
        return; // no stream is begun any more
    const auto& id = who->info().id;
    const bool stays = !has_one_stream() && hears_everywhere(id);
    const auto key = stays || !has_room_for(directory) ? everywhere : stream_key(directory);
    auto stream = start_stream(key);
    if (!stream->hub->has(id))
        stream->hub->subscribe(id, std::make_shared<session_link>(who, key));
}

std::shared_ptr<directory_stream> server_core::start_stream(const std::string& key) {
    auto& held = streams_[key];
    if (held)
        return held;
    held = std::make_shared<directory_stream>();
    held->key = key;
    const bool of_all = has_one_stream() || key == everywhere;
    stream::hub_config hub;
    hub.source.locate = [this, of_all, speech = speech_] { // the hub runs in our scope
        auto where = locate();
        const client server(world, std::move(where.url));
        where.url = speech->event_url(server, of_all);
        return where;
    };
    hub.source.headers = rest().credentials();
    if (!of_all)
        for (auto& each : directory_header(key))
            hub.source.headers.push_back(std::move(each));
    hub.source.inspect = rejected_credentials;
    hub.source.policy = config.policy;
    hub.source.transport = config.rest.transport;
    hub.source.stall_timeout = config.stall_timeout;
    hub.source.greeting_timeout = config.greeting_timeout;
    hub.source.limits = config.limits;
    hub.source.tag = config.tag;
    hub.route = [raw = held.get(), speech = speech_](std::string_view data) {
        return speech->route(*raw, data);
    };
    hub.prepare = [this, speech = speech_](std::string data) {
        return prepare_event(speech, std::move(data));
    };
    hub.observe = config.observe;
    if (config.observe && key == everywhere)
        hub.observe = [this](std::string_view data) { // a directory with a stream of its own has told it
            if (!streams_.contains(peek(data).directory))
                config.observe(data);
        };
    held->hub = std::make_shared<stream::event_hub>(world, scope_, std::move(hub));
    scope_.spawn(hold_stream(held));
    return held;
}

net::awaitable<std::shared_ptr<void>>
server_core::prepare_event(std::shared_ptr<const server_protocol> speech, std::string data) {
    const auto self = shared_from_this();
    const auto made = co_await speech->prepare(world, std::move(data));
    if (made.stray)
        log_stray({}, config.tag, *made.stray);
    co_return made.event;
}

net::awaitable<void> server_core::hold_stream(std::shared_ptr<directory_stream> stream) {
    const auto self = shared_from_this();
    std::exception_ptr thrown;
    try {
        co_await stream->hub->run();
    } catch (...) {
        thrown = std::current_exception();
    }
    // Not by a destructor: a context that goes destroys this where it waits, and what locate() uses may be
    // gone.
    on_stream_over(stream);
    if (thrown)
        std::rethrow_exception(thrown);
}

// It gave up (its subscribers were told), was closed by us, or its server is gone.
void server_core::on_stream_over(const std::shared_ptr<directory_stream>& stream) {
    if (world.ended())
        return;
    std::vector<std::shared_ptr<session_core>> concerned;
    for (const auto& [id, session] : sessions_)
        if (stream_key(*session) == stream->key)
            concerned.push_back(session);
    const auto found = streams_.find(stream->key);
    if (found != streams_.end() && found->second == stream)
        streams_.erase(found);
    const bool gone = locate().what == holdfast::stream::location::state::gone;
    for (const auto& session : concerned) {
        session->on_stream_over();
        if (gone)
            session->on_gone();
    }
}

void server_core::unfollow(const std::string& directory, const std::string& session) {
    leave(stream_key(directory), session);
}

void server_core::unfollow(const session_core& session) {
    leave(stream_key(session.info().directory), session.info().id);
    leave(everywhere, session.info().id);
}

void server_core::leave(const std::string& key, const std::string& session) {
    const auto found = streams_.find(key);
    if (found == streams_.end())
        return;
    const auto stream = found->second;
    stream->hub->unsubscribe(session);
    std::erase_if(stream->roots, [&](const auto& each) { return each.second == session; });
    if (stream->hub->size() == 0) {
        streams_.erase(found);
        stream->hub->close();
    }
}

void server_core::learn_child(const std::string& directory, const std::string& child,
                              const std::string& root) {
    for (const auto& key : {stream_key(directory), everywhere})
        if (const auto found = streams_.find(key); found != streams_.end() && found->second->hub->has(root))
            found->second->learn(child, root);
}

void server_core::wake() {
    changed_.notify_all();
    for (const auto& [key, stream] : streams_)
        stream->hub->wake();
    for (const auto& session : captured())
        session->wake_look();
    captures_.look_soon();
}

} // namespace detail

// --- the handles

namespace {

// Coroutines begin when they are first awaited: each holds what it needs itself, since the handle, and the
// server, may be gone by then.

// Of an empty handle, which is the default constructed one.
const std::string nothing;

net::awaitable<result<void>> closed() {
    co_return retry::make_failure(errc::closed, "an empty handle");
}

net::awaitable<std::optional<agent_event>> next_of(std::shared_ptr<detail::turn_core> core) {
    if (!core)
        co_return std::nullopt;
    co_return co_await core->events.take();
}

net::awaitable<result<void>> abort_of(std::shared_ptr<detail::turn_core> core) {
    core->mute();
    if (core->owner->is_stopped())
        co_return detail::stopped_failure();
    co_return co_await core->owner->abort();
}

net::awaitable<turn> prompt_in(std::shared_ptr<detail::session_lease> lease, prompt what) {
    if (!lease)
        co_return turn();
    co_return co_await lease->core->prompt(std::move(what));
}

net::awaitable<result<std::string>> store_in(std::shared_ptr<detail::session_lease> lease, prompt what) {
    co_return co_await lease->core->store(std::move(what));
}

net::awaitable<turn> prompt_at(std::shared_ptr<detail::server_core> core, prompt what) {
    co_return co_await core->prompt(std::move(what));
}

prompt text_prompt(std::string text) {
    prompt what;
    prompt_part part;
    part.text = std::move(text);
    what.parts.push_back(std::move(part));
    return what;
}

net::awaitable<turn> adopt_in(std::shared_ptr<detail::session_lease> lease, std::string message) {
    if (!lease)
        co_return turn();
    co_return co_await lease->core->adopt(std::move(message));
}

net::awaitable<result<void>> abort_in(std::shared_ptr<detail::session_lease> lease) {
    co_return co_await lease->core->abort();
}

net::awaitable<std::optional<approval_event>> next_approval_of(std::shared_ptr<detail::session_lease> lease) {
    if (!lease)
        co_return std::nullopt;
    co_return co_await lease->core->next_approval();
}

net::awaitable<std::optional<session_event>> next_of(std::shared_ptr<detail::feed_core> core) {
    if (!core)
        co_return std::nullopt;
    co_return co_await core->events.take();
}

net::awaitable<result<void>> abort_of(std::shared_ptr<detail::feed_core> core) {
    co_return co_await core->owner->abort();
}

net::awaitable<void> run_of(std::shared_ptr<detail::server_core> core) {
    co_await core->run();
}

net::awaitable<result<server_info>> ready_of(std::shared_ptr<detail::server_core> core) {
    co_return co_await core->ready();
}

net::awaitable<result<server_info>> health_of(std::shared_ptr<detail::server_core> core) {
    co_return co_await core->health();
}

net::awaitable<result<session_info>> get_session_of(std::shared_ptr<detail::server_core> core,
                                                    std::string id) {
    co_return co_await core->get_session(std::move(id));
}

net::awaitable<result<session_list>> list_sessions_of(std::shared_ptr<detail::server_core> core,
                                                      session_query which) {
    co_return co_await core->list_sessions(std::move(which));
}

net::awaitable<result<session>> create_session_at(std::shared_ptr<detail::server_core> core,
                                                  session_request what, std::string directory) {
    co_return co_await core->create_session(std::move(what), std::move(directory));
}

net::awaitable<result<session>> open_session_at(std::shared_ptr<detail::server_core> core, std::string id) {
    co_return co_await core->open_session(std::move(id));
}

} // namespace

const std::string& turn::message_id() const noexcept {
    return core_ ? core_->message : nothing;
}

const std::string& turn::session_id() const noexcept {
    return core_ ? core_->owner->info().id : nothing;
}

bool turn::posted() const noexcept {
    return core_ && (core_->posted || core_->maybe_posted);
}

net::awaitable<std::optional<agent_event>> turn::next() {
    return next_of(core_);
}

std::optional<agent_event> turn::try_next() {
    return core_ ? core_->events.try_take() : std::nullopt;
}

net::awaitable<result<void>> turn::abort() {
    return core_ ? abort_of(core_) : closed();
}

net::awaitable<result<void>> turn::take_back() {
    return core_ ? core_->owner->take_back(core_->message) : closed();
}

net::awaitable<result<void>> turn::reply_permission(std::string id, std::string reply) {
    return core_ ? core_->owner->reply_permission(std::move(id), std::move(reply)) : closed();
}

net::awaitable<result<void>> turn::reply_question(std::string id,
                                                  std::vector<std::vector<std::string>> answers) {
    return core_ ? core_->owner->reply_question(std::move(id), std::move(answers)) : closed();
}

net::awaitable<result<void>> turn::reject_question(std::string id) {
    return core_ ? core_->owner->reject_question(std::move(id)) : closed();
}

void turn::detach() {
    if (core_)
        core_->owner->close_turn(core_->message, outcome::detached, rule::detached, std::nullopt,
                                 reprompt::no);
}

void turn::give_up(std::string why) {
    if (!core_)
        return;
    settlement_error error;
    error.cls = retry::to_string(retry::failure_class::timeout);
    error.message = std::move(why);
    core_->owner->close_turn(core_->message, outcome::lost, rule::gave_up, std::move(error),
                             reprompt::unknown);
}

void turn::limit(const turn_limits& limits) {
    if (core_)
        core_->owner->limit(core_->message, limits);
}

net::awaitable<std::optional<session_event>> feed::next() {
    return next_of(core_);
}

std::optional<session_event> feed::try_next() {
    return core_ ? core_->events.try_take() : std::nullopt;
}

const std::string& feed::session_id() const noexcept {
    return core_ ? core_->owner->info().id : nothing;
}

session_view feed::view() const {
    return core_ ? core_->owner->view() : session_view();
}

net::awaitable<result<void>> feed::abort() {
    return core_ ? abort_of(core_) : closed();
}

net::awaitable<result<void>> feed::reply_permission(std::string id, std::string reply) {
    return core_ ? core_->owner->reply_permission(std::move(id), std::move(reply)) : closed();
}

const std::string& session::id() const noexcept {
    return lease_ ? lease_->core->info().id : nothing;
}

const std::string& session::directory() const noexcept {
    return lease_ ? lease_->core->info().directory : nothing;
}

const std::string& session::last_sent() const noexcept {
    return lease_ ? lease_->core->last_sent() : nothing;
}

void session::tag(std::string name) {
    if (lease_)
        lease_->core->tag(std::move(name));
}

net::awaitable<turn> session::prompt(opencode::prompt what) {
    return prompt_in(lease_, std::move(what));
}

net::awaitable<turn> session::prompt(std::string text) {
    return prompt_in(lease_, text_prompt(std::move(text)));
}

net::awaitable<result<std::string>> session::store(opencode::prompt what) {
    return store_in(lease_, std::move(what));
}

net::awaitable<turn> session::adopt(std::string message_id) {
    return adopt_in(lease_, std::move(message_id));
}

net::awaitable<result<void>> session::abort() {
    return lease_ ? abort_in(lease_) : closed();
}

net::awaitable<std::optional<approval_event>> session::next_approval() {
    return next_approval_of(lease_);
}

net::awaitable<result<void>> session::reply_permission(std::string id, std::string reply) {
    return lease_ ? lease_->core->reply_permission(std::move(id), std::move(reply)) : closed();
}

net::awaitable<result<void>> session::reply_question(std::string id,
                                                     std::vector<std::vector<std::string>> answers) {
    return lease_ ? lease_->core->reply_question(std::move(id), std::move(answers)) : closed();
}

net::awaitable<result<void>> session::reject_question(std::string id) {
    return lease_ ? lease_->core->reject_question(std::move(id)) : closed();
}

server::server(const runtime& world, http::url base, server_config config)
    : core_(std::make_shared<detail::server_core>(world, std::move(base), std::move(config))) {}

server::server(const runtime& world, std::string_view base, server_config config)
    : server(world, http::parse_url(base).value(), std::move(config)) {}

server::server(const runtime& world, std::string_view base) : server(world, base, server_config()) {}

server::~server() {
    core_->stop();
}

net::awaitable<void> server::run() {
    return run_of(core_);
}

void server::stop() {
    core_->stop();
}

net::awaitable<result<server_info>> server::ready() {
    return ready_of(core_);
}

net::awaitable<result<session>> server::create_session(session_request what, std::string directory) {
    return create_session_at(core_, std::move(what), std::move(directory));
}

net::awaitable<result<session>> server::create_session() {
    return create_session_at(core_, {}, {});
}

net::awaitable<result<session>> server::open_session(std::string id) {
    return open_session_at(core_, std::move(id));
}

feed server::follow(std::string id, follow_by how) {
    return core_->follow(std::move(id), how);
}

net::awaitable<turn> server::prompt(opencode::prompt what) {
    return prompt_at(core_, std::move(what));
}

net::awaitable<turn> server::prompt(std::string text) {
    return prompt_at(core_, text_prompt(std::move(text)));
}

net::awaitable<result<server_info>> server::health() {
    return health_of(core_);
}

net::awaitable<result<session_info>> server::get_session(std::string id) {
    return get_session_of(core_, std::move(id));
}

net::awaitable<result<session_list>> server::list_sessions(session_query which) {
    return list_sessions_of(core_, std::move(which));
}

client server::rest() const {
    return core_->rest();
}

void server::wake() {
    core_->wake();
}

} // namespace holdfast::opencode
