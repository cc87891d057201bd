// What a session said, as far as its turns need it: messages in the order in which they came to be, which
// turn owns each, and how much of each part is known and was told. Used by turn_tracker only.
#pragma once

#include <holdfast/opencode/agent_event.hpp>
#include <holdfast/opencode/types.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace holdfast::opencode {

/// One part of an assistant message.
struct part_record {
    enum class kind { unknown, text, reasoning, tool, other };

    std::string id;
    kind what = kind::unknown;

    // Of text and reasoning:
    std::string text;        ///< what is known, without a hole; from its beginning, but for what was dropped
    std::size_t dropped = 0; ///< bytes of its beginning that are not kept any more: all of them told
    std::size_t dropped_ink = 0; ///< of those, the ones that are no space
    std::size_t told = 0;        ///< how much of it, `dropped` counted, the owner of the turn has
    bool live = false;           ///< nothing of it was missed so far: its next delta continues `text`
    bool ended = false;          ///< `text` is final
    bool withheld = false;       ///< a delta came that could not be placed
    bool abandoned = false;      ///< the server threw it away: its end never comes
    bool lost = false;           ///< its end did not continue what was told; that is still to be told

    // Of a tool:
    tool_event tool;
    tool_event tool_told; ///< as it was last told; without a state: not yet
    std::string child_session;
    bool rejected = false; ///< it failed because its permission or question was rejected

    /// All that is known, kept or not.
    [[nodiscard]] std::size_t size() const noexcept { return dropped + text.size(); }
    /// Of the text that is kept, what was told.
    [[nodiscard]] std::size_t told_of_kept() const noexcept { return told - dropped; }
    /// What the server says is the text goes on with what was told of it.
    [[nodiscard]] bool goes_on_in(std::string_view whole) const noexcept;
    /// The same text, but for its spaces, as far as it is kept.
    [[nodiscard]] bool is_but_for_space(std::string_view whole) const noexcept;
    /// Keeps no more than the end of what was told: at least so many bytes are dropped, or all of that.
    void drop_told(std::size_t bytes);
    /// All of what is kept, which was told; no more than its end stays, of about so many bytes.
    [[nodiscard]] std::string take_all_but(std::size_t bytes);
    /// What was not told is as though it had not been heard.
    void forget_untold();
    /// As though nothing of it had been heard or told.
    void forget_text();

    /// Text may exist that nobody here has seen, and that may never come.
    [[nodiscard]] bool may_miss_text() const noexcept {
        const bool speaks =
            what == kind::text || what == kind::reasoning || (what == kind::unknown && withheld);
        return speaks && !ended && !live && !abandoned;
    }
};

struct message_record {
    enum class user_kind {
        unclassed,    ///< its first part has not come yet
        prompt,       ///< a turn of its own
        compaction,   ///< the server asks for a summary
        continuation, ///< the server's own, to go on after a compaction
        shell,        ///< of the shell route: no turn at all
    };

    message_info info;     ///< without a session id: message.updated has not come yet
    bool known = false;    ///< message.updated came, or a snapshot had it
    std::string owner;     ///< the prompt's id of the turn it belongs to; empty for none
    std::size_t index = 0; ///< its place in the order

    user_kind kind = user_kind::unclassed;
    bool automatic = false; ///< of a compaction
    bool parted = false;    ///< of a user message: its first part came
    bool text_first = false;
    std::string
        first_text; ///< of a user message: its first part's, if that is a text; no more than its beginning
    std::size_t first_size = 0; ///< bytes of all of that
    std::size_t first_hash = 0; ///< of all of that

    std::vector<part_record> parts;
    bool usage_told = false;
    std::uint64_t heard = 0; ///< the stream on which something of it was heard last, counted from 1

    [[nodiscard]] bool answers() const noexcept { return known && info.assistant; }
    [[nodiscard]] bool is_summary() const noexcept;
    std::size_t next_part = 0; ///< where the one probably is that is looked for next

    [[nodiscard]] part_record* find_part(std::string_view id);
    [[nodiscard]] part_record& part(std::string_view id);
    /// Brings the parts into this order, with a place for each that is not known yet; others stay last.
    void arrange_as(const std::vector<opencode::part>& order);
};

class conversation {
public:
    using list = std::vector<std::unique_ptr<message_record>>;

    [[nodiscard]] message_record* find(std::string_view id) const;
    /// The record of a message seen on the stream: what is new comes last.
    message_record& append(std::string_view id);
    /// The record of a message seen in a snapshot: what is new takes its place by time.
    message_record& place(std::string_view id, std::int64_t created_ms);
    void erase(std::string_view id);
    void clear();

    [[nodiscard]] const list& in_order() const noexcept { return order_; }

    /// The last assistant message of a turn; null for none.
    [[nodiscard]] message_record* last_answer(std::string_view owner) const;
    /// The last one that is not a summary of the server's own.
    [[nodiscard]] message_record* last_own_answer(std::string_view owner) const;

    /// Says what a user message is, by its first part, and to which earlier turn it belongs if it is no
    /// prompt.
    void classify(message_record& m, const part& first) const;
    /// Says to which turn one of the server's own user messages belongs whose prompt was not known when it
    /// was classed.
    void own_again(message_record& m) const;

    /// What asked for a summary, when that was the server itself, which goes on with the turn afterwards;
    /// else null.
    [[nodiscard]] const message_record* own_compaction_of(const message_record& summary) const;

    /// True when a compaction was begun between two messages.
    [[nodiscard]] bool compacted_between(const message_record& a, const message_record& b) const;

private:
    message_record& insert(std::size_t at, std::unique_ptr<message_record> m);
    std::unique_ptr<message_record> take_out(std::size_t at);
    void number_from(std::size_t at);
    [[nodiscard]] const message_record* awaited_compaction(const message_record& before) const;
    [[nodiscard]] std::string last_prompt_before(const message_record& m) const;
    [[nodiscard]] bool replays(const message_record& m, const std::string& owner) const;

    list order_;
    std::unordered_map<std::string, message_record*> by_id_;
};

} // namespace holdfast::opencode
