#include <holdfast/opencode/protocol/v2/session.hpp>

#include <utility>
#include <variant>

namespace holdfast::opencode::v2 {
namespace {

constexpr std::size_t max_requests = 4096; // that are remembered of one session, answered ones among them
constexpr unsigned short_page = 20;        // messages of a session in which no turn is open

tracker_options options_for(const opencode::tracker_options& asked, const dialect& spoken) {
    tracker_options all;
    all.can_cancel_queued = spoken.can_cancel_queued;
    all.max_asks = asked.max_asks;
    all.max_children = asked.max_children;
    all.quiet_after = asked.quiet_after;
    all.tell_strays = true;
    return all;
}

failure not_spoken(std::string_view what) {
    return retry::make_failure(errc::unsupported_version, "OpenCode 2.x takes no " + std::string(what), true);
}

std::string text_of(const opencode::prompt& what) {
    std::string text;
    for (const auto& part : what.parts) {
        if (!text.empty())
            text += '\n';
        text += part.text;
    }
    return text;
}

} // namespace

struct session::sight : detail::sight {
    explicit sight(snapshot s) : what(std::move(s)) {
        session_known = what.session_known;
        is_busy = what.active;
    }
    snapshot what;
};

session::session(detail::session_host& host, const dialect& spoken)
    : host_(host), spoken_(spoken), tracker_(host.info().id, options_for(host.config().turns, spoken)) {}

detail::abilities session::can() const noexcept {
    detail::abilities all;
    all.can_queue = true;
    all.can_cancel_queued = spoken_.can_cancel_queued;
    return all;
}

void session::close(const std::string& message, settlement how, time_point) {
    take(tracker_.close(message, std::move(how)));
}

void session::abort_requested(time_point) {
    take(tracker_.abort_requested());
}

// --- what the stream does

void session::attached(time_point now) {
    take(tracker_.attached(now));
}

void session::interrupted(const failure& why, unsigned next_attempt, duration retry_in, time_point now) {
    broke_ = true;
    take(tracker_.interrupted(why, next_attempt, retry_in, now));
}

void session::broken_off(const failure& why, time_point now) {
    broke_ = true;
    take(tracker_.broken_off(why, now));
}

detail::heard session::hear(std::string_view data, time_point now) {
    return take_in(parse_event(data), now);
}

detail::heard session::hear(std::shared_ptr<void> prepared, time_point now) {
    const auto told = std::static_pointer_cast<result<event>>(std::move(prepared));
    return told.use_count() == 1 ? take_in(std::move(*told), now) : take_in(*told, now);
}

detail::heard session::take_in(result<event> told, time_point now) {
    detail::heard all;
    if (!told) {
        all.unreadable = told.error();
        return all;
    }
    if (const auto* asked = std::get_if<permission_asked>(&told->what))
        note_ask(asked->request.id, told->session);
    if (const auto* asked = std::get_if<form_created>(&told->what))
        note_form(asked->form);
    if (const auto* renamed = std::get_if<session_renamed>(&told->what); renamed && told->session == id()) {
        all.info = host_.info();
        all.info->title = renamed->title;
    }
    all.is_deleted = told->session == id() && std::holds_alternative<session_deleted>(told->what);
    take(tracker_.hear(std::move(*told), now));
    return all;
}

void session::note_ask(const std::string& request, const std::string& asker) {
    if (askers_.size() >= max_requests)
        askers_.clear();
    askers_[request] = asker;
}

void session::note_form(const form& asked) {
    if (forms_.size() >= max_requests)
        forms_.clear();
    forms_[asked.request.id] = asked;
}

// --- snapshots

detail::session_protocol::mark session::begin_snapshot() const {
    return {tracker_.begin_snapshot(), host_.world().now()};
}

net::awaitable<result<session::seen_ptr>> session::fetch_snapshot() {
    const auto self = shared_from_this();
    snapshot_query which;
    which.session = id();
    which.prompts = host_.open_prompts();
    which.children = tracker_.children();
    which.find_children = std::exchange(broke_, false);
    which.max_children = host_.config().turns.max_children;
    if (which.prompts.empty())
        which.page = short_page;
    auto rest = host_.rest();
    rest.allow_in_all(host_.config().snapshot_bytes);
    client server(std::move(rest), spoken_);
    auto seen = co_await server.take_snapshot(which);
    broke_ = broke_ || (!seen && which.find_children);
    if (!seen)
        co_return seen.error();
    for (const auto& child : seen->children)
        host_.learn_child(child.id);
    for (const auto& each : seen->permissions)
        note_ask(each.id, each.session_id);
    for (const auto& each : seen->forms)
        note_form(each);
    co_return seen_ptr(std::make_shared<sight>(std::move(*seen)));
}

net::awaitable<result<session::seen_ptr>> session::glance(std::shared_ptr<const detail::directory_view>) {
    co_return seen_ptr();
}

bool session::merge(detail::sight& seen, mark taken, bool, time_point now) {
    if (taken.position < tracker_.facts().known_since())
        return false; // the stream broke, or began, meanwhile
    take(tracker_.merge(static_cast<sight&>(seen).what, taken.position, taken.when, now));
    return true;
}

// --- calls

// The server takes any id, and orders by its own time.
void session::name(opencode::prompt& what, std::optional<wall_time> server_time) {
    if (what.message_id.empty())
        what.message_id = make_id("msg", server_time, {}, host_.world());
}

net::awaitable<result<void>> session::learn_newest() {
    co_return result<void>();
}

net::awaitable<result<void>> session::is_there(std::string message) {
    const auto self = shared_from_this();
    auto server = calls();
    co_return co_await server.is_there(id(), std::move(message));
}

std::optional<failure> session::why_not(const opencode::prompt& what) const {
    if (!what.command.empty())
        return not_spoken("command");
    if (!what.system.empty())
        return not_spoken("system prompt of a message");
    if (!what.raw_json.empty())
        return not_spoken("further members of a prompt");
    for (const auto& part : what.parts)
        if (part.what != prompt_part::kind::text)
            return not_spoken("file with a prompt yet");
    return std::nullopt;
}

net::awaitable<result<void>> session::post(opencode::prompt what) {
    return send(std::move(what), true);
}

net::awaitable<result<void>> session::store(opencode::prompt what) {
    return send(std::move(what), false);
}

// Agent and model are the session's there, not the prompt's.
net::awaitable<result<void>> session::send(opencode::prompt what, bool resume) {
    const auto self = shared_from_this();
    auto server = calls();
    if (!what.agent.empty())
        if (const auto set = co_await server.set_agent(id(), what.agent); !set)
            co_return set;
    if (!what.model.empty())
        if (const auto set = co_await server.set_model(id(), what.model, what.variant); !set)
            co_return set;
    new_prompt posted;
    posted.id = what.message_id;
    posted.text = text_of(what);
    posted.delivery = to_string(what.how);
    posted.resume = resume;
    co_return co_await server.prompt(id(), std::move(posted));
}

net::awaitable<result<void>> session::run_command(opencode::prompt) {
    co_return not_spoken("command");
}

// What waits is taken back, so that the next prompt does not run it too.
net::awaitable<result<void>> session::abort() {
    const auto self = shared_from_this();
    auto server = calls();
    const auto done = co_await server.interrupt(id());
    if (!done)
        co_return done.error();
    if (!spoken_.can_cancel_queued)
        co_return result<void>();
    const auto waiting = tracker_.to_cancel();
    for (const auto& each : waiting)
        if (const auto cancelled = co_await server.cancel_queued(id(), each); !cancelled)
            co_return cancelled;
    co_return result<void>();
}

// The server says the same of what it took back, of what runs already, and of what it never had.
net::awaitable<result<void>> session::cancel_queued(std::string message) {
    const auto self = shared_from_this();
    auto server = calls();
    const auto done = co_await server.cancel_queued(id(), message);
    if (!done)
        co_return done;
    const auto seen = co_await server.is_there(id(), message);
    if (!seen && seen.error().code == errc::not_found) {
        take(tracker_.taken_back(message, host_.world().now()));
        co_return result<void>();
    }
    if (!seen)
        co_return seen;
    co_return retry::make_failure(errc::not_found, "it does not wait any more: it runs, or has run");
}

std::string session::asker_of(const std::string& request) const {
    const auto found = askers_.find(request);
    return found == askers_.end() ? id() : found->second;
}

net::awaitable<result<void>> session::reply_permission(std::string request, std::string reply) {
    const auto self = shared_from_this();
    if (host_.is_stopped())
        co_return retry::make_failure(errc::closed, "the server was stopped");
    auto server = calls();
    co_return co_await server.reply_permission(asker_of(request), request, std::move(reply), {});
}

net::awaitable<result<void>> session::reply_question(std::string request,
                                                     std::vector<std::vector<std::string>> answers) {
    const auto self = shared_from_this();
    if (host_.is_stopped())
        co_return retry::make_failure(errc::closed, "the server was stopped");
    const auto found = forms_.find(request);
    if (found == forms_.end())
        co_return retry::make_failure(errc::not_found, "no form of that id was asked");
    auto server = calls();
    co_return co_await server.reply_form(found->second, std::move(answers));
}

net::awaitable<result<void>> session::reject_question(std::string request) {
    const auto self = shared_from_this();
    if (host_.is_stopped())
        co_return retry::make_failure(errc::closed, "the server was stopped");
    const auto found = forms_.find(request);
    const auto asker = found == forms_.end() ? id() : found->second.request.session_id;
    auto server = calls();
    co_return co_await server.cancel_form(asker, std::move(request));
}

net::awaitable<std::optional<settlement_error>> session::explain_ending(opencode::client) {
    co_return std::nullopt;
}

} // namespace holdfast::opencode::v2
