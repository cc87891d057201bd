// session_core, as far as it posts what is no plain prompt: commands, and prompts without a reply.
#include <holdfast/opencode/session_core.hpp>

#include <algorithm>
#include <utility>

namespace holdfast::opencode::detail {
namespace {

constexpr duration first_pause = milliseconds(100);
constexpr duration longest_pause = seconds(2);

/// The server itself refused it, rather than something on the way.
bool is_refusal(const failure& why) {
    return retry::is_final(why) || why.status == 500;
}

} // namespace

/// A command that the server runs; it answers when the turn is over.
struct session_core::command_call {
    std::optional<result<void>> answer;
};

net::awaitable<void> session_core::call_command(std::shared_ptr<command_call> call, opencode::prompt what) {
    const auto self = shared_from_this();
    call->answer = co_await protocol_->run_command(std::move(what));
}

// The command's message is there once its template is evaluated, which may run programs. So it is posted
// again only when the server cannot have heard of it, and is waited for as long as the server is at it.
net::awaitable<void> session_core::post_command(std::shared_ptr<turn_core> core, opencode::prompt what) {
    const auto self = shared_from_this();
    retry::schedule schedule(config().policy);
    std::shared_ptr<command_call> call;
    auto pause = first_pause;
    while (protocol_->is_open(core->message)) {
        if (core->abort_asked && !core->maybe_posted)
            co_return close_turn(core->message, outcome::aborted, rule::abort_requested, std::nullopt,
                                 reprompt::yes);
        if (!call) {
            call = std::make_shared<command_call>();
            core->maybe_posted = true;
            last_sent_ = core->message;
            reported_.reset();
            server_->spawn(call_command(call, what));
        }
        co_await server_->pause(std::exchange(pause, std::min(2 * pause, longest_pause)));
        const auto answer = call->answer; // before the look: what was answered earlier shows in it
        const auto seen = co_await is_there(core->message);
        if (seen || (answer && *answer))
            co_return on_posted(*core, true);
        if (!answer)
            continue;
        const failure failed = answer->error();
        const bool unknown = seen.error().code == errc::not_found;
        if (unknown && is_refusal(failed))
            co_return settle_refused_command(*core, failed);
        if (!failed.connected) {
            core->maybe_posted = false;
            call.reset();
        }
        const auto next = schedule.on_end(unknown ? failed : seen.error(), duration::zero(), world().now(),
                                          world().random());
        if (next.give_up)
            co_return settle_unposted(*core, failed);
        co_await server_->pause(next.delay);
    }
}

// What was wrong is told on the stream; the answer only says that something was.
void session_core::settle_refused_command(turn_core& core, const failure& why) {
    auto error = as_settlement_error(why);
    if (reported_) {
        error.cls = "server";
        error.name = reported_->name;
        error.message = reported_->message;
    }
    const auto how = core.abort_asked ? outcome::aborted : outcome::failed;
    const auto by = core.abort_asked ? rule::abort_requested : rule::not_posted;
    close_turn(core.message, how, by, std::move(error), reprompt::yes);
}

net::awaitable<result<std::string>> session_core::store(opencode::prompt what) {
    const auto self = shared_from_this();
    const place_in_line place(*this, &what);
    while (posting_.front() != &what)
        co_await changed_.wait();
    if (what.message_id.empty() && !knows_newest()) {
        const auto known = co_await learn_newest();
        if (!known)
            co_return known.error();
    }
    const bool is_unnamed = what.message_id.empty();
    name(what);
    if (const auto why = protocol_->why_not(what))
        co_return *why;
    const auto message = what.message_id;
    if (is_unnamed)
        protocol_->is_newest(message);
    retry::schedule schedule(config().policy);
    bool perhaps_there = false;
    while (!server_->stopping().requested()) {
        if (perhaps_there) {
            const auto seen = co_await is_there(message);
            if (seen)
                co_return message;
        }
        const auto done = co_await protocol_->store(what);
        if (done)
            co_return message;
        perhaps_there = perhaps_there || done.error().connected;
        const auto next = schedule.on_end(done.error(), duration::zero(), world().now(), world().random());
        if (next.give_up || is_refusal(done.error()))
            co_return done.error();
        co_await server_->pause(next.delay);
    }
    co_return retry::make_failure(errc::closed, "the server was stopped");
}

} // namespace holdfast::opencode::detail
