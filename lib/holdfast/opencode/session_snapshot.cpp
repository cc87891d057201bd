// session_core, as far as it asks the server what it knows of the session, and goes on in another protocol.
#include <holdfast/opencode/session_core.hpp>

#include <algorithm>
#include <map>
#include <utility>

namespace holdfast::opencode::detail {
namespace {

constexpr unsigned max_snapshot_tries = 5;

} // namespace

net::awaitable<void> session_core::take_snapshot() {
    const auto self = shared_from_this();
    const auto merged = co_await merge_snapshot(false);
    if (!merged)
        protocol_->snapshot_failed(world().now());
    pump();
    co_await post_again();
}

net::awaitable<result<void>> session_core::merge_snapshot(bool by_capture) {
    const auto self = shared_from_this();
    pump(); // what was opened is to be reached back for
    for (unsigned i = 0; i < max_snapshot_tries; ++i) {
        const auto directory = info_.directory;
        const auto mark = protocol_->begin_snapshot();
        if (i == 0)
            world().first_try();
        else if (!co_await world().may_retry())
            break;
        world().count(metric::snapshots);
        co_await server_->make_sure();
        const auto with = protocol_;
        const auto seen = co_await with->fetch_snapshot();
        const auto why = why_unknown(seen);
        const bool is_other = co_await server_->is_another(why);
        if (is_other || with != protocol_)
            break; // another protocol, and another stream, which begins with a snapshot
        if (info_.directory != directory && server_->hears_everywhere(info_.id))
            continue;
        if (info_.directory != directory)
            break; // elsewhere now, and repaired there
        if (!seen) {
            world().count(metric::snapshots_failed);
            co_return seen.error();
        }
        if (merge(**seen, mark, by_capture))
            break;
    }
    if (stranger_ && is_only_followed())
        co_return who_is_this({});
    co_return result<void>();
}

/// What may be said by a server of another protocol.
std::optional<failure> session_core::why_unknown(const result<std::shared_ptr<sight>>& seen) {
    if (!seen)
        return seen.error();
    return (*seen)->unknown_by;
}

bool session_core::merge(sight& seen, session_protocol::mark taken, bool by_capture) {
    const auto now = world().now();
    if (seen.session_known)
        stranger_ = respoken_ = false;
    else if (contact_lost_ && is_only_followed()) { // of our turns it knows nothing
        on_unknown();
        return true;
    }
    if (!seen.session_known && respoken_)
        close_strangers_turns();
    const bool knew_history = protocol_->knows_history();
    if (!protocol_->merge(seen, taken, by_capture, now))
        return false;
    seen_ = now;
    if (seen.is_busy || protocol_->has_open_turns())
        active_at_ = now;
    pump();
    if (!knew_history && protocol_->knows_history())
        log_followed();
    if (!seen.session_known)
        on_unknown();
    return true;
}

// It speaks another protocol than the one that had it: nobody deleted anything.
void session_core::close_strangers_turns() {
    close_all(outcome::lost, rule::gave_up, as_settlement_error(unknown_here()), reprompt::unknown);
}

failure session_core::unknown_here() const {
    return retry::make_failure(errc::another_server, "it does not know session " + info_.id, true);
}

// Text that was delivered before is not delivered again, though its parts have other ids in the new protocol.
void session_core::speak_anew() {
    const auto open = open_prompts();
    protocol_ = server_->speech().hold(*this);
    live_ = repairing_ = false;
    contact_lost_ = respoken_ = true;
    left_.clear();
    former_.clear();
    gave_up_.reset();
    if (is_followed())
        protocol_->follow();
    for (const auto& message : open) {
        handed_over_.insert(message);
        protocol_->adopt(message, world().now());
    }
    if (!open.empty() || wants_stream())
        server_->follow(info_.directory, shared_from_this());
    pump();
    changed_.notify_all();
}

// A server that accepted a prompt and then knows nothing of it has perhaps not come to it yet. With the same
// ids, once more does no harm.
net::awaitable<void> session_core::post_again() {
    const auto self = shared_from_this();
    bool at_work = false; // one of them was taken: all that the server knows are answered now
    for (const auto& message : protocol_->take_reposts()) {
        const auto found = turns_.find(message);
        const auto core = found == turns_.end() ? nullptr : found->second.lock();
        if (!core || !core->sent || core->abort_asked)
            continue;
        if (at_work) {
            const auto known = co_await is_there(message);
            if (known)
                continue;
        }
        const auto done = co_await protocol_->post(*core->sent);
        at_work = at_work || done; // whatever else it says, the next snapshot tells
    }
}

} // namespace holdfast::opencode::detail
