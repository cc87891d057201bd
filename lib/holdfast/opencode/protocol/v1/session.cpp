#include <holdfast/opencode/protocol/v1/session.hpp>

#include <algorithm>
#include <set>
#include <utility>
#include <variant>

namespace holdfast::opencode::v1 {

using detail::heard;

session::session(detail::session_host& host) : host_(host), tracker_(host.info().id, host.config().turns) {}

detail::abilities session::can() const noexcept {
    detail::abilities all;
    all.orders_by_id = true;
    return all;
}

void session::close(const std::string& message, settlement how, time_point) {
    take(tracker_.close(message, std::move(how)));
}

// --- what the stream does

void session::attached(time_point) {
    take(tracker_.attached());
}

heard session::hear(std::string_view data, time_point now) {
    return take_in(parse_event(data), now);
}

heard session::hear(std::shared_ptr<void> prepared, time_point now) {
    const auto told = std::static_pointer_cast<result<event>>(std::move(prepared));
    return told.use_count() == 1 ? take_in(std::move(*told), now) : take_in(*told, now);
}

heard session::take_in(result<event> told, time_point now) {
    heard all;
    if (!told) {
        all.unreadable = told.error();
        return all;
    }
    if (const auto* seen = std::get_if<session_updated>(&*told); seen && seen->info.id == id())
        all.info = seen->info;
    if (const auto* seen = std::get_if<message_updated>(&*told); seen && seen->info.session_id == id())
        note_newest(seen->info);
    if (const auto* seen = std::get_if<session_error>(&*told); seen && seen->session_id == id())
        all.error = seen->error;
    const auto* deleted = std::get_if<session_deleted>(&*told);
    all.is_deleted = deleted && deleted->session_id == id();
    take(tracker_.hear(std::move(*told), now));
    return all;
}

// --- what is known

std::vector<ledger::deliver> session::told_so_far() const {
    std::vector<ledger::deliver> all;
    for (auto& a : tracker_.told_so_far())
        all.push_back(std::get<ledger::deliver>(std::move(a)));
    return all;
}

std::size_t session::background() const {
    return tracker_.facts().is_busy() ? 0 : tracker_.facts().sessions().at_work();
}

// --- calls

void session::note_newest(const message_info& seen) {
    if (is_newer_id(seen.id, newest_))
        newest_ = seen.id;
}

void session::name(opencode::prompt& what, std::optional<wall_time> server_time) {
    if (what.message_id.empty())
        what.message_id = make_id("msg", server_time, newest_, host_.world());
    std::string before;
    for (auto& part : what.parts) {
        if (part.id.empty())
            part.id = make_id("prt", server_time, before, host_.world());
        before = part.id;
    }
}

net::awaitable<result<void>> session::learn_newest() {
    const auto self = shared_from_this();
    auto server = host_.rest();
    const auto latest = co_await server.messages(id(), 1, {});
    if (!latest)
        co_return latest.error();
    for (const auto& each : latest->messages)
        note_newest(each.info);
    co_return result<void>();
}

net::awaitable<result<void>> session::is_there(std::string message) {
    const auto self = shared_from_this();
    auto server = host_.rest();
    const auto seen = co_await server.get_message(id(), std::move(message));
    if (!seen)
        co_return seen.error();
    co_return result<void>();
}

std::optional<failure> session::why_not(const opencode::prompt& what) const {
    if (what.how != delivery::by_server)
        return retry::make_failure(errc::unsupported_version,
                                   "OpenCode 1.x cannot be told whether a prompt steers or waits", true);
    return std::nullopt;
}

net::awaitable<result<void>> session::post(opencode::prompt what) {
    const auto self = shared_from_this();
    auto server = host_.rest();
    co_return co_await server.prompt_async(id(), std::move(what));
}

net::awaitable<result<void>> session::store(opencode::prompt what) {
    const auto self = shared_from_this();
    auto server = host_.rest();
    co_return co_await server.store(id(), std::move(what));
}

net::awaitable<result<void>> session::run_command(opencode::prompt what) {
    const auto self = shared_from_this();
    auto server = host_.rest();
    co_return co_await server.run_command(id(), std::move(what));
}

net::awaitable<result<void>> session::abort() {
    const auto self = shared_from_this();
    auto server = host_.rest();
    const auto done = co_await server.abort(id());
    co_return done;
}

net::awaitable<result<void>> session::cancel_queued(std::string) {
    co_return retry::make_failure(errc::unsupported_version, "OpenCode 1.x takes no prompt back");
}

// An ask is answered in the directory where it was made, which may be another than the session's is now.
net::awaitable<result<void>> session::where_it_was_asked(call answer) {
    const auto self = shared_from_this();
    if (host_.is_stopped())
        co_return retry::make_failure(errc::closed, "the server was stopped");
    auto server = host_.rest();
    result<void> done;
    std::set<std::string> tried;
    for (const bool again : {false, true}) {
        if (again) { // it may have been moved meanwhile
            const auto known = co_await host_.read_directory_again();
            if (!known)
                co_return known.error();
        }
        const auto directories = host_.ask_directories();
        for (const auto& directory : directories) {
            if (!tried.insert(directory).second)
                continue;
            done = co_await answer(server, directory);
            if (done || done.error().code != errc::not_found)
                co_return done;
        }
    }
    co_return done;
}

net::awaitable<result<void>> session::reply_permission(std::string id, std::string reply) {
    return where_it_was_asked(
        [id = std::move(id), reply = std::move(reply)](client& server, const std::string& directory) {
            return server.reply_permission(id, reply, {}, directory);
        });
}

net::awaitable<result<void>> session::reply_question(std::string id,
                                                     std::vector<std::vector<std::string>> answers) {
    return where_it_was_asked(
        [id = std::move(id), answers = std::move(answers)](client& server, const std::string& directory) {
            return server.reply_question(id, answers, directory);
        });
}

net::awaitable<result<void>> session::reject_question(std::string id) {
    return where_it_was_asked([id = std::move(id)](client& server, const std::string& directory) {
        return server.reject_question(id, directory);
    });
}

// A server that cannot read a session's directory drops its prompts without a word (OpenCode #39471).
net::awaitable<std::optional<settlement_error>> session::explain_ending(client server) {
    const auto self = shared_from_this();
    const auto directory = host_.info().directory;
    if (directory.empty())
        co_return std::nullopt;
    const auto read = co_await server.read_directory(directory);
    if (read || read.error().status != 500)
        co_return std::nullopt;
    settlement_error error;
    error.cls = "server";
    error.message = "the server cannot read the directory " + directory;
    co_return error;
}

} // namespace holdfast::opencode::v1
