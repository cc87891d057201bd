// v1::session, as far as it asks the server what it knows.
#include <holdfast/opencode/protocol/v1/session.hpp>

#include <algorithm>
#include <iterator>
#include <set>
#include <utility>

namespace holdfast::opencode::v1 {
namespace {

constexpr unsigned page_size = 100;
constexpr unsigned max_pages = 20;
constexpr std::size_t max_snapshot_parts = 20'000;
constexpr unsigned max_child_depth = 16;
constexpr unsigned child_page = 10; // messages of a child that asks: its tool is in one of the last
/// Messages that are looked at while a turn runs: since the last look there are rarely more.
constexpr unsigned few_messages = 20;
constexpr unsigned many_messages = 100;

} // namespace

using detail::directory_view;

struct session::sight : detail::sight {
    explicit sight(snapshot s) : what(std::move(s)) {
        session_known = what.session_known;
        is_busy = what.status.state != session_status::kind::idle;
    }
    snapshot what;
};

detail::session_protocol::mark session::begin_snapshot() const {
    return {tracker_.begin_snapshot(), host_.world().now()};
}

net::awaitable<result<session::seen_ptr>> session::fetch_snapshot() {
    const auto self = shared_from_this();
    auto seen = co_await fetch();
    if (!seen)
        co_return seen.error();
    const auto all = std::make_shared<sight>(std::move(*seen));
    all->unknown_by = std::exchange(unknown_by_, {});
    co_return seen_ptr(all);
}

net::awaitable<result<session::seen_ptr>> session::glance(std::shared_ptr<const directory_view> seen) {
    if (knows_history() && seen->status.contains(id()))
        return look_at_work(std::move(seen));
    if (knows_history() && !has_open_turns())
        return look_for_news(std::move(seen));
    return nothing();
}

net::awaitable<result<session::seen_ptr>> session::nothing() {
    co_return seen_ptr();
}

bool session::merge(detail::sight& seen, mark taken, bool by_capture, time_point now) {
    auto& what = static_cast<sight&>(seen).what;
    const auto latest = what.messages.empty() ? std::string() : what.messages.back().info.id;
    auto newest = newest_;
    for (const auto& each : what.messages)
        if (is_newer_id(each.info.id, newest))
            newest = each.info.id;
    kept_.is_void = false;
    take(tracker_.merge(std::move(what), taken.position, by_capture, now));
    if (kept_.is_void)
        return false;
    latest_ = tracker_.facts().left_turns_out() ? std::string() : latest;
    newest_ = newest;
    return true;
}

// Status first: what the messages then show is at least as new. The directory last: all holds for where it
// was asked.
net::awaitable<result<snapshot>> session::fetch() {
    snapshot seen;
    auto server = host_.rest();
    server.allow_in_all(host_.config().snapshot_bytes);
    auto at_work = co_await fetch_status(server);
    if (!at_work)
        co_return at_work.error();
    seen.at_work = std::make_shared<const session_statuses>(std::move(*at_work));
    seen.status = status_in(*seen.at_work);
    auto step = co_await fetch_messages(server, seen);
    if (step && may_be_broken_off(seen)) {
        const auto after = co_await fetch_status(server);
        if (!after)
            co_return after.error();
        seen.status_after = status_in(*after);
    }
    if (step && seen.session_known)
        step = co_await fetch_children(server, seen);
    if (step && seen.session_known)
        step = co_await fetch_asks(server, seen);
    if (step && seen.session_known)
        step = co_await fetch_child_tools(server, seen);
    if (step && seen.session_known) // moved meanwhile, it was asked in the wrong place
        step = co_await host_.read_directory_again();
    if (!step)
        co_return step.error();
    co_return seen;
}

net::awaitable<result<session_statuses>> session::fetch_status(client server) {
    session_statuses at_work;
    const auto directories = host_.ask_directories();
    for (const auto& directory : directories) {
        const auto status = co_await server.status(directory);
        if (!status)
            co_return status.error();
        at_work.insert(status->begin(), status->end());
    }
    co_return at_work;
}

session_status session::status_in(const session_statuses& at_work) const {
    const auto mine = at_work.find(id());
    return mine == at_work.end() ? session_status() : mine->second;
}

// An answer that was begun after the status was read has no end either.
bool session::may_be_broken_off(const snapshot& seen) const {
    if (!host_.is_followed() || knows_history() || seen.status.state != session_status::kind::idle)
        return false;
    const auto last = std::find_if(seen.messages.rbegin(), seen.messages.rend(),
                                   [](const message& m) { return m.info.assistant; });
    return last != seen.messages.rend() && !last->info.finished();
}

namespace {

/// The message that the last answer answers, if it is not among these.
const std::string* unknown_prompt(const std::vector<message>& messages) {
    const auto last =
        std::find_if(messages.rbegin(), messages.rend(), [](const message& m) { return m.info.assistant; });
    if (last == messages.rend() || std::any_of(messages.begin(), messages.end(), [&](const message& m) {
            return m.info.id == last->info.parent_id;
        }))
        return nullptr;
    return &last->info.parent_id;
}

} // namespace

// The latest page, and as many before it as the open turns reach back: no further than the limits allow, and
// not where the server's cursors go in a circle.
net::awaitable<result<void>> session::fetch_messages(client server, snapshot& into) {
    std::string before;
    std::set<std::string> asked_before;
    std::size_t parts = 0;
    auto wanted = host_.open_prompts();
    for (unsigned page = 0; page < max_pages; ++page) {
        auto got = co_await server.messages(id(), page_size, before);
        if (!got && page != 0 && got.error().code == errc::body_too_large)
            break;
        if (!got) {
            if (got.error().code != errc::not_found)
                co_return got.error();
            into.session_known = false;
            unknown_by_ = got.error();
            co_return result<void>();
        }
        for (const auto& each : got->messages) {
            std::erase(wanted, each.info.id);
            parts += 1 + each.parts.size();
        }
        into.messages.insert(into.messages.begin(), std::make_move_iterator(got->messages.begin()),
                             std::make_move_iterator(got->messages.end()));
        // What runs when a session begins to be followed is told from its prompt on.
        if (page == 0 && host_.is_followed() && !knows_history())
            if (const auto* prompt = unknown_prompt(into.messages))
                wanted.push_back(*prompt);
        before = got->before;
        if (wanted.empty() || before.empty() || parts > max_snapshot_parts ||
            !asked_before.insert(before).second)
            break;
        if (page != 0)
            continue;
        // Reach back only for prompts that the server knows at all.
        for (const auto& message : std::vector(wanted)) {
            const auto known = co_await server.get_message(id(), message);
            if (!known && known.error().code == errc::not_found)
                std::erase(wanted, message);
        }
        if (wanted.empty())
            break;
    }
    co_return result<void>();
}

// Fetches all child sessions, and the descendants of those that are at work: an idle session asks for
// nothing. Each session once, whatever parent the server names, and down to `max_child_depth`.
net::awaitable<result<void>> session::fetch_children(client server, snapshot& into) {
    std::vector<std::pair<std::string, unsigned>> to_ask;
    to_ask.emplace_back(id(), 0);
    std::set<std::string> seen;
    seen.insert(id());
    while (!to_ask.empty()) {
        const auto [parent, depth] = std::move(to_ask.back());
        to_ask.pop_back();
        auto got = co_await server.children(parent);
        if (!got)
            co_return got.error();
        for (auto& child : *got) {
            if (!seen.insert(child.id).second)
                continue;
            if (into.children.size() >= host_.config().turns.max_children) {
                host_.found_too_many_children();
                co_return result<void>();
            }
            host_.learn_child(child.id);
            if (into.is_at_work(child.id) && depth + 1 < max_child_depth)
                to_ask.emplace_back(child.id, depth + 1);
            into.children.push_back(std::move(child));
        }
    }
    co_return result<void>();
}

net::awaitable<result<void>> session::fetch_asks(client server, snapshot& into) {
    std::set<std::string> below;
    for (const auto& child : into.children)
        below.insert(child.id);
    const auto ours = [&](const std::string& session) {
        return session == id() || tracker_.facts().sessions().owns(session) || below.contains(session);
    };
    const auto directories = host_.ask_directories();
    for (const auto& directory : directories) {
        auto permissions = co_await server.permissions(directory);
        if (!permissions)
            co_return permissions.error();
        for (auto& each : *permissions)
            if (ours(each.session_id))
                into.permissions.push_back(std::move(each));
        auto questions = co_await server.questions(directory);
        if (!questions)
            co_return questions.error();
        for (auto& each : *questions)
            if (ours(each.session_id))
                into.questions.push_back(std::move(each));
    }
    co_return result<void>();
}

// A server lists a request also when its tool is over: the last messages of the children that ask tell.
net::awaitable<result<void>> session::fetch_child_tools(client server, snapshot& into) {
    std::set<std::string> askers;
    for (const auto& each : into.permissions)
        askers.insert(each.session_id);
    for (const auto& each : into.questions)
        askers.insert(each.session_id);
    askers.erase(id());
    for (const auto& child : askers) {
        if (!into.is_at_work(child))
            continue;
        auto latest = co_await server.messages(child, child_page, {});
        if (!latest && latest.error().code != errc::not_found)
            co_return latest.error();
        if (!latest)
            continue;
        for (auto& each : latest->messages)
            for (auto& part : each.parts)
                if (!part.call_id.empty())
                    into.child_tools.push_back(std::move(part));
    }
    co_return result<void>();
}

net::awaitable<result<session::seen_ptr>> session::look_at_work(std::shared_ptr<const directory_view> seen) {
    const auto self = shared_from_this();
    snapshot now_seen;
    now_seen.status = seen->status.find(id())->second;
    const auto added = co_await add_asks(seen, now_seen);
    if (!added)
        co_return added.error();
    auto server = host_.rest();
    auto latest = co_await server.messages(id(), few_messages, {});
    if (latest && !reaches_back(*latest))
        latest = co_await server.messages(id(), many_messages, {});
    if (!latest)
        co_return latest.error();
    now_seen.messages = std::move(latest->messages);
    co_return seen_ptr(std::make_shared<sight>(std::move(now_seen)));
}

net::awaitable<result<session::seen_ptr>> session::look_for_news(std::shared_ptr<const directory_view> seen) {
    const auto self = shared_from_this();
    auto server = host_.rest();
    auto latest = co_await server.messages(id(), 1, {});
    if (!latest && latest.error().code != errc::not_found)
        co_return latest.error();
    if (!latest || !is_nothing_new(*latest))
        co_return seen_ptr();
    snapshot quiet;
    quiet.messages = std::move(latest->messages);
    const auto added = co_await add_asks(seen, quiet); // of children in the background
    if (!added)
        co_return added.error();
    co_return seen_ptr(std::make_shared<sight>(std::move(quiet)));
}

bool session::is_nothing_new(const message_page& latest) const {
    return latest.messages.empty() ? latest_.empty() : latest.messages.back().info.id == latest_;
}

/// To what was there at the last look.
bool session::reaches_back(const message_page& latest) const {
    return latest.before.empty() || std::any_of(latest.messages.begin(), latest.messages.end(),
                                                [&](const message& m) { return m.info.id == latest_; });
}

net::awaitable<result<void>> session::add_asks(std::shared_ptr<const directory_view> seen, snapshot& into) {
    const auto self = shared_from_this();
    into.at_work = std::shared_ptr<const session_statuses>(seen, &seen->status);
    const auto ours = seen->asks.find(id());
    if (ours == seen->asks.end())
        co_return result<void>();
    into.children = ours->second.children;
    into.permissions = ours->second.permissions;
    into.questions = ours->second.questions;
    co_return co_await fetch_child_tools(host_.rest(), into);
}

} // namespace holdfast::opencode::v1
