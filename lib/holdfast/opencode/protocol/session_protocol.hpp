// What differs between protocols where one session is supervised: how its turns are tracked, and how the
// server is asked and told. Who holds the session knows this alone, and no version. Not for users.
#pragma once

#include <holdfast/opencode/capture_view.hpp>
#include <holdfast/opencode/client.hpp>
#include <holdfast/opencode/protocol/kept_actions.hpp>
#include <holdfast/opencode/server.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace holdfast::opencode::detail {

/// What one protocol can do and another cannot.
struct abilities {
    bool orders_by_id = false;      ///< prompts are answered in the order of their ids: see learn_newest()
    bool can_queue = false;         ///< a prompt says whether it steers what runs or waits for its end
    bool can_cancel_queued = false; ///< a prompt that waits can be taken back
};

/// What a protocol needs to know of who holds the session.
class session_host {
public:
    virtual ~session_host() = default;
    [[nodiscard]] virtual client rest() const = 0;
    [[nodiscard]] virtual runtime& world() const noexcept = 0;
    [[nodiscard]] virtual const server_config& config() const noexcept = 0;
    [[nodiscard]] virtual const session_info& info() const noexcept = 0;
    /// Where what runs in it, and its asks, may be.
    [[nodiscard]] virtual std::vector<std::string> ask_directories() const = 0;
    /// Asks the server for its directory, and goes there.
    [[nodiscard]] virtual net::awaitable<result<void>> read_directory_again() = 0;
    [[nodiscard]] virtual bool is_stopped() const noexcept = 0;
    [[nodiscard]] virtual bool is_followed() const = 0;
    /// The prompts of the open turns that are told to somebody.
    [[nodiscard]] virtual std::vector<std::string> open_prompts() const = 0;
    /// The stream has what belongs to it.
    virtual void learn_child(const std::string& child) = 0;
    virtual void found_too_many_children() = 0;
};

/// What the server said of a session by REST. A protocol has more in it than who holds the session needs.
struct sight {
    virtual ~sight() = default;
    bool session_known = true;
    std::optional<failure> unknown_by; ///< the answer that said so, where one did
    bool is_busy = false;
};

/// What of an event concerns who holds the session, beside its turns.
struct heard {
    std::optional<failure> unreadable;
    std::optional<session_info> info;
    std::optional<api_error> error; ///< of the session itself
    bool is_deleted = false;
};

/// The turns of one session, as a protocol tells of them. What each input means is described in
/// opencode/turn_tracker.hpp. Each call to the server: cancellable at once, with the errors of client.
///
/// Thread safety: confined to the executor of its host. Owned by shared_ptr: calls keep it alive, and the
/// host must outlive them.
class session_protocol : public std::enable_shared_from_this<session_protocol> {
public:
    virtual ~session_protocol() = default;

    [[nodiscard]] virtual abilities can() const noexcept = 0;

    // --- what the owner does
    virtual void open(const std::string& message, time_point now) = 0;
    virtual void posted(const std::string& message, time_point now, bool once) = 0;
    virtual void adopt(const std::string& message, time_point now) = 0;
    virtual void close(const std::string& message, settlement how, time_point now) = 0;
    virtual void abort_requested(time_point now) = 0;
    virtual void abort_accepted(time_point now) = 0;
    virtual void follow() = 0;
    virtual void moved() = 0;

    // --- what the stream does
    virtual void attached(time_point now) = 0;
    virtual void interrupted(const failure& why, unsigned next_attempt, duration retry_in,
                             time_point now) = 0;
    virtual void broken_off(const failure& why, time_point now) = 0;
    [[nodiscard]] virtual heard hear(std::string_view data, time_point now) = 0;
    /// What its server_protocol has prepared of an event.
    [[nodiscard]] virtual heard hear(std::shared_ptr<void> prepared, time_point now) = 0;
    virtual void tick(time_point now) = 0;

    // --- snapshots
    struct mark {
        std::uint64_t position = 0; ///< how much was taken in by then
        time_point when{};
    };
    /// To be asked for before the first request of one.
    [[nodiscard]] virtual mark begin_snapshot() const = 0;
    [[nodiscard]] virtual net::awaitable<result<std::shared_ptr<sight>>> fetch_snapshot() = 0;
    /// A cheaper one, for one that is looked at again; null: it does not do.
    [[nodiscard]] virtual net::awaitable<result<std::shared_ptr<sight>>>
    glance(std::shared_ptr<const directory_view> seen) = 0;
    /// False: it is void, take another. `seen` is used up.
    [[nodiscard]] virtual bool merge(sight& seen, mark taken, bool by_capture, time_point now) = 0;
    virtual void snapshot_failed(time_point now) = 0;

    // --- calls
    /// Makes a prompt's own ids, by which it is harmless to repeat.
    virtual void name(opencode::prompt& what, std::optional<wall_time> server_time) = 0;
    /// Its id shall be next behind all that are known; see abilities::orders_by_id.
    virtual void is_newest(const std::string&) {}
    [[nodiscard]] virtual net::awaitable<result<void>> learn_newest() = 0;
    [[nodiscard]] virtual net::awaitable<result<void>> is_there(std::string message) = 0;
    /// Why this prompt cannot be posted to such a server; nothing: it can.
    [[nodiscard]] virtual std::optional<failure> why_not(const opencode::prompt& what) const = 0;
    [[nodiscard]] virtual net::awaitable<result<void>> post(opencode::prompt what) = 0;
    [[nodiscard]] virtual net::awaitable<result<void>> store(opencode::prompt what) = 0;
    [[nodiscard]] virtual net::awaitable<result<void>> run_command(opencode::prompt what) = 0;
    /// Aborts what runs in the session.
    [[nodiscard]] virtual net::awaitable<result<void>> abort() = 0;
    [[nodiscard]] virtual net::awaitable<result<void>> cancel_queued(std::string message) = 0;
    [[nodiscard]] virtual net::awaitable<result<void>> reply_permission(std::string id,
                                                                        std::string reply) = 0;
    [[nodiscard]] virtual net::awaitable<result<void>>
    reply_question(std::string id, std::vector<std::vector<std::string>> answers) = 0;
    [[nodiscard]] virtual net::awaitable<result<void>> reject_question(std::string id) = 0;
    /// What only the server can tell of an end without an end; nothing: it tells nothing.
    [[nodiscard]] virtual net::awaitable<std::optional<settlement_error>> explain_ending(client server) = 0;

    // --- what is wanted
    [[nodiscard]] bool wants_snapshot() const noexcept { return kept_.wants_snapshot; }
    [[nodiscard]] time_point next_deadline() const noexcept {
        return kept_.deadline.value_or(time_point::max());
    }
    [[nodiscard]] std::vector<ledger::deliver> take_outputs() { return std::exchange(kept_.outputs, {}); }
    [[nodiscard]] std::vector<std::string> take_reposts() { return std::exchange(kept_.reposts, {}); }
    [[nodiscard]] std::vector<std::string> take_opened() { return std::exchange(kept_.opened, {}); }
    [[nodiscard]] bool take_abort() { return std::exchange(kept_.abort_due, false); }

    // --- what is known
    [[nodiscard]] virtual std::vector<ledger::deliver> told_so_far() const = 0;
    [[nodiscard]] virtual bool has_open_turns() const = 0;
    [[nodiscard]] virtual bool is_open(const std::string& message) const = 0;
    [[nodiscard]] virtual bool knows_history() const = 0;
    [[nodiscard]] virtual std::size_t background() const = 0;
    /// Prompts that the server has stored, and has not taken up.
    [[nodiscard]] virtual std::size_t waiting() const { return 0; }
    [[nodiscard]] virtual std::optional<session_status> status() const = 0;
    [[nodiscard]] virtual std::optional<unsigned> depth_of(std::string_view session) const = 0;

protected:
    session_protocol() = default;
    void take(ledger::actions all) { kept_.take(std::move(all)); }
    kept_actions kept_;
};

} // namespace holdfast::opencode::detail
