// The facts of one session of a 2.x server, each with the position at which it was learned. Knows no owner
// and decides nothing. Pure. Not for users.
#pragma once

#include <holdfast/opencode/ledger/transcript.hpp>
#include <holdfast/opencode/protocol/v2/answers.hpp>
#include <holdfast/opencode/protocol/v2/event.hpp>
#include <holdfast/time.hpp>

#include <algorithm>
#include <cstddef>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace holdfast::opencode::v2 {

using ledger::position; // zero: never

/// An input of the session: a prompt, or what the server or a person put there beside.
struct input_facts {
    std::string id;
    /// A promotion alone does not tell: a prompt, until something says otherwise.
    input_kind kind = input_kind::prompt;
    position posted = 0;    ///< by us
    position admitted = 0;  ///< it waits at the server
    position promoted = 0;  ///< it became a message
    position heard = 0;     ///< the event of that was heard
    position cancelled = 0; ///< it was taken out of the inbox
    position missing = 0;   ///< last that a snapshot had it neither in the inbox nor among the messages
    position settled = 0;
    bool heard_of = false; ///< somebody listens to it: it is a turn
};

/// What of a part is known, and what of it was told.
struct part_facts {
    std::string said;       ///< told to the owner
    std::size_t agreed = 0; ///< bytes of `said` that the deltas since its beginning have repeated
    position followed = 0;  ///< its beginning was heard; zero: deltas cannot be placed
    position ended = 0;     ///< `text` is whole
    std::string text;
};

struct tool_facts {
    std::string name;
    std::string state;
};

/// A step: one request of the model, and one message.
struct step_facts {
    std::string message;
    position began = 0;    ///< last: after a retry it begins again
    position retrying = 0; ///< the server waits before it asks again
    position closed = 0;   ///< it ended, or failed, or was completed
    std::string finish;
    std::optional<api_error> error;
    position declined = 0; ///< a tool of it says that it was rejected
    bool usage_told = false;
    std::map<std::pair<part_kind, std::uint64_t>, part_facts> parts;
    std::map<std::string, tool_facts> tools;

    /// The model has said its last word: a finish that asks for no tools.
    [[nodiscard]] bool answers() const noexcept;
    /// Every abort ends its execution.
    [[nodiscard]] bool was_aborted() const noexcept;
};

/// How an execution ended: by its event, or by a row of type "idle".
struct terminal_facts {
    position at = 0;
    execution_ended end;
};

/// What stands in order in a session: promoted inputs, steps, and the ends and beginnings of executions.
struct entry {
    enum class kind { input, step, started, terminal };
    entry::kind what = kind::input;
    std::string id; ///< of the input, the step's message, or the idle row; empty: an event of the execution
    terminal_facts end;
    std::int64_t created_ms = 0; ///< on the server's clock; 0: not told
};

/// What the server said of one session by REST, in this order: inbox, messages, then whether it is active.
struct snapshot {
    bool session_known = true;
    bool active = false;
    std::vector<inbox_item> inbox;
    std::vector<message_row> rows; ///< the oldest first, back to the open prompts
    std::vector<session_info> children;
    std::set<std::string> active_children;       ///< of these and of others that are known
    std::vector<permission_request> permissions; ///< of the session and its children
    std::vector<form> forms;
};

/// What a snapshot told last.
struct snapshot_facts {
    position begun = 0;
    time_point begun_at{};
    bool active = false;
};

class session_ledger {
public:
    explicit session_ledger(std::string session) : session_(std::move(session)) {}

    [[nodiscard]] const std::string& session() const noexcept { return session_; }
    [[nodiscard]] position at() const noexcept { return at_; }
    /// Before each input; of an event, when the server made it.
    position advance() noexcept { return ++at_; }
    void date(std::int64_t created_ms) noexcept { created_ms_ = created_ms; }

    // --- what is learned
    input_facts& input(const std::string& id);
    void admit(const input_admitted& e);
    void promote(const std::string& id);
    void start_execution();
    void end_execution(const execution_ended& e);
    step_facts& step(const std::string& message);
    void note_rejection() noexcept { rejected_ = at_; }
    void note_compaction_failed() noexcept { compaction_failed_ = at_; }
    void note_interrupt_asked() noexcept { interrupt_asked_ = at_; }
    void note_interrupt_accepted() noexcept { interrupt_accepted_ = at_; }
    void attach(time_point now) noexcept;
    void break_off() noexcept;
    /// Rows that were known before keep their place. Parts are not looked at: see told_text.
    void merge(const snapshot& s, position begun, time_point begun_at);
    /// Drops what nothing depends on once every input is settled or nobody's.
    void forget_settled();

    // --- what is known
    [[nodiscard]] const std::deque<input_facts>& inputs() const noexcept { return inputs_; }
    [[nodiscard]] std::deque<input_facts>& inputs() noexcept { return inputs_; }
    [[nodiscard]] const std::vector<entry>& conversation() const noexcept { return conversation_; }
    [[nodiscard]] const input_facts* find_input(std::string_view id) const;
    [[nodiscard]] const step_facts* find_step(std::string_view message) const;
    [[nodiscard]] const snapshot_facts& last_snapshot() const noexcept { return snapshot_; }
    [[nodiscard]] position rejected() const noexcept { return rejected_; }
    [[nodiscard]] position compaction_failed() const noexcept { return compaction_failed_; }
    [[nodiscard]] position interrupt_asked() const noexcept { return interrupt_asked_; }
    [[nodiscard]] position interrupt_accepted() const noexcept { return interrupt_accepted_; }
    [[nodiscard]] position broken() const noexcept { return broken_; } ///< last
    /// The stream broke, or began again: what a snapshot begun before that tells has a hole.
    [[nodiscard]] position known_since() const noexcept { return std::max(broken_, attached_); }
    [[nodiscard]] bool is_attached() const noexcept { return attached_ > broken_; }
    [[nodiscard]] time_point attached_at() const noexcept { return attached_at_; }
    /// When the last execution ended other than by success, if nothing has begun since: what waits is not
    /// run.
    [[nodiscard]] position stopped() const noexcept;
    /// Since when snapshots say that it is not at work, unless an event said so later; nothing: they do not.
    [[nodiscard]] std::optional<time_point> idle_since() const noexcept { return idle_since_; }
    void note_work() noexcept { idle_since_.reset(); }

    /// What an input brought about.
    struct work {
        std::size_t at = 0;                  ///< its place in the conversation
        const step_facts* last = nullptr;    ///< its last step
        const terminal_facts* end = nullptr; ///< the terminal that covers it
        const input_facts* next = nullptr;   ///< a prompt promoted in the same execution, after it
        bool cut_off = false;                ///< another execution began, and it had no terminal
        bool left = false;                   ///< after its answer the session went on with nobody's input
    };
    /// Of a promoted input.
    [[nodiscard]] work work_of(const input_facts& p) const;
    /// The promoted prompt that a step works for; null: nobody's.
    [[nodiscard]] const input_facts* owner_of(std::string_view message) const;

private:
    [[nodiscard]] std::size_t place_of(entry::kind what, std::string_view id) const noexcept;
    void insert(entry e);
    void merge_rows(const std::vector<message_row>& rows);
    void merge_row(const message_row& row);
    [[nodiscard]] entry entry_for(const message_row& row) const;
    [[nodiscard]] std::size_t place_of(const message_row& row) const noexcept;

    std::string session_;
    position at_ = 0;
    std::deque<input_facts> inputs_; ///< in the order in which they were first heard of
    std::map<std::string, step_facts, std::less<>> steps_;
    std::vector<entry> conversation_;
    snapshot_facts snapshot_;
    std::optional<time_point> idle_since_;
    std::int64_t created_ms_ = 0; ///< of the event that is being taken in; 0: not told
    position rejected_ = 0;       ///< last: an approval of the session's own, not of a child's
    position compaction_failed_ = 0;
    position interrupt_asked_ = 0;
    position interrupt_accepted_ = 0;
    position attached_ = 0;
    time_point attached_at_{};
    position broken_ = 0;
};

} // namespace holdfast::opencode::v2
