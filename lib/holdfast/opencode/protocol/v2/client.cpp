#include <holdfast/opencode/protocol/v2/client.hpp>

#include <holdfast/opencode/json_slices.hpp>

#include <algorithm>
#include <iterator>
#include <utility>

namespace holdfast::opencode::v2 {

net::awaitable<result<client::document>> client::call(result<request> what) {
    if (!what)
        co_return what.error();
    co_return co_await calls_.call_route(std::move(what->method), std::move(what->target),
                                         std::move(what->body));
}

template <class T>
net::awaitable<result<T>> client::ask(result<request> what, parser<T> parse) {
    const auto got = co_await call(std::move(what));
    if (!got)
        co_return got.error();
    co_return parse((*got)->root());
}

net::awaitable<result<void>> client::command(result<request> what) {
    const auto done = co_await call(std::move(what));
    if (!done)
        co_return done.error();
    co_return result<void>();
}

net::awaitable<result<session_row>> client::create_session(new_session what) {
    return ask(create(what), parse_session);
}

net::awaitable<result<session_row>> client::get_session(std::string session) {
    return ask(get(session), parse_session);
}

net::awaitable<result<void>> client::delete_session(std::string session) {
    return command(remove(session));
}

// A server without a limit of its own is asked for as many as one of 1.x lists.
net::awaitable<result<session_list>> client::list_sessions(session_query which) {
    constexpr std::size_t usual = 100;
    const auto limit = which.limit == 0 ? usual : which.limit;
    auto rows = co_await ask(list(which.directory, limit, which.roots), parse_sessions);
    if (!rows)
        co_return rows.error();
    const auto keep = which.keep == 0 ? limit : which.keep;
    session_list all;
    for (auto& row : *rows) {
        if (all.sessions.size() < keep)
            all.sessions.push_back(std::move(row.info));
        else
            ++all.left_out;
    }
    co_return all;
}

net::awaitable<result<void>> client::set_agent(std::string session, std::string agent) {
    return command(v2::set_agent(session, agent));
}

net::awaitable<result<void>> client::set_model(std::string session, std::string model, std::string variant) {
    return command(v2::set_model(session, model, variant));
}

// It is among the messages once it is promoted, and in the inbox before: so that nothing falls between, the
// messages are asked once more.
net::awaitable<result<void>> client::is_there(std::string session, std::string prompt) {
    const auto seen = co_await call(message(session, prompt));
    if (seen || seen.error().code != errc::not_found) {
        if (!seen)
            co_return seen.error();
        co_return result<void>();
    }
    const auto items = co_await ask(inbox(*spoken_, session), parse_inbox);
    if (!items)
        co_return items.error();
    for (const auto& each : *items)
        if (each.id == prompt)
            co_return result<void>();
    co_return co_await command(message(session, prompt));
}

// The first content under an id wins; of another id nothing was asked.
net::awaitable<result<void>> client::prompt(std::string session, new_prompt what) {
    const auto stored = co_await ask(v2::prompt(session, what), parse_accepted);
    if (!stored)
        co_return stored.error();
    if (!what.id.empty() && *stored != what.id)
        co_return retry::make_failure(errc::missing_field, "data.id is not that of the prompt", true);
    co_return result<void>();
}

net::awaitable<result<void>> client::cancel_queued(std::string session, std::string prompt) {
    return command(v2::cancel_queued(*spoken_, session, prompt));
}

net::awaitable<result<bool>> client::interrupt(std::string session) {
    const auto got = co_await call(v2::interrupt(session));
    if (!got)
        co_return got.error();
    co_return parse_interrupted((*got)->root());
}

net::awaitable<result<void>> client::reply_permission(std::string session, std::string id,
                                                      std::string decision, std::string message) {
    return command(v2::reply_permission(*spoken_, session, id, decision, message));
}

net::awaitable<result<void>> client::reply_form(form asked, std::vector<std::vector<std::string>> answers) {
    return command(v2::reply_form(asked, answers));
}

net::awaitable<result<void>> client::cancel_form(std::string session, std::string id) {
    return command(v2::cancel_form(*spoken_, session, id));
}

net::awaitable<result<snapshot>> client::take_snapshot(snapshot_query which) {
    snapshot seen;
    const auto done = co_await fetch(which, seen);
    if (done)
        co_return seen;
    if (done.error().code != errc::not_found)
        co_return done.error();
    snapshot gone;
    gone.session_known = false;
    co_return gone;
}

net::awaitable<result<void>> client::fetch(const snapshot_query& which, snapshot& into) {
    auto items = co_await ask(inbox(*spoken_, which.session), parse_inbox);
    if (!items)
        co_return items.error();
    into.inbox = std::move(*items);
    if (const auto done = co_await fetch_messages(which, into); !done)
        co_return done;
    const auto all = co_await ask(active(), parse_active);
    if (!all)
        co_return all.error();
    into.active = all->contains(which.session);
    if (which.find_children)
        if (const auto done = co_await fetch_children(which, into); !done)
            co_return done;
    for (const auto& child : into.children)
        if (all->contains(child.id))
            into.active_children.insert(child.id);
    for (const auto& child : which.children)
        if (all->contains(child))
            into.active_children.insert(child);
    if (const auto done = co_await fetch_asks(which.session, into); !done)
        co_return done;
    const auto asking = into.active_children; // who is not at work asks for nothing
    for (const auto& child : asking) {
        const auto done = co_await fetch_asks(child, into);
        if (!done && done.error().code != errc::not_found) // a child may be gone
            co_return done;
    }
    co_return result<void>();
}

// The newest first, until all that is open was seen, or waits.
net::awaitable<result<void>> client::fetch_messages(const snapshot_query& which, snapshot& into) {
    std::set<std::string> wanted(which.prompts.begin(), which.prompts.end());
    for (const auto& item : into.inbox)
        wanted.erase(item.id);
    message_query page;
    page.limit = which.page;
    for (std::size_t n = 0; n < which.max_pages; ++n) {
        auto rows = co_await ask(messages(which.session, page), parse_messages);
        if (!rows)
            co_return rows.error();
        for (const auto& row : rows->rows)
            wanted.erase(row.id);
        std::move(rows->rows.begin(), rows->rows.end(), std::back_inserter(into.rows));
        page.cursor = rows->next;
        if (wanted.empty() || page.cursor.empty() || rows->rows.empty())
            break;
    }
    std::reverse(into.rows.begin(), into.rows.end());
    co_return result<void>();
}

net::awaitable<result<void>> client::fetch_children(const snapshot_query& which, snapshot& into) {
    auto rows = co_await ask(v2::children(which.session, which.max_children), parse_sessions);
    if (!rows)
        co_return rows.error();
    for (auto& row : *rows)
        if (row.info.parent_id == which.session)
            into.children.push_back(std::move(row.info));
    co_return result<void>();
}

net::awaitable<result<void>> client::fetch_asks(std::string session, snapshot& into) {
    auto all = co_await ask(permissions(session), parse_permissions);
    if (!all)
        co_return all.error();
    std::move(all->begin(), all->end(), std::back_inserter(into.permissions));
    auto open = co_await ask(forms(session), parse_forms);
    if (!open)
        co_return open.error();
    std::move(open->begin(), open->end(), std::back_inserter(into.forms));
    co_return result<void>();
}

} // namespace holdfast::opencode::v2
