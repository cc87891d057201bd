// The messages of a session as far as its turns need them: in the order in which they came to be, which turn
// owns each, and how much of each part is known and was delivered. Not for users.
#pragma once

#include <holdfast/opencode/agent_event.hpp>
#include <holdfast/opencode/types.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace holdfast::opencode::ledger {

/// When something was learned, counted in inputs from 1. Zero: never.
using position = std::uint64_t;

/// One part of an assistant message.
struct part_record {
    enum class kind { unknown, text, reasoning, tool, other };
    enum class hearing {
        unheard,   ///< its beginning, or what followed it, was missed
        live,      ///< nothing of it was missed so far: its next delta continues `text`
        withheld,  ///< a delta came that could not be placed
        abandoned, ///< live until the server threw it away: its end never comes
        ended,     ///< `text` is final
    };

    std::string id;
    kind what = kind::unknown;
    hearing heard = hearing::unheard;
    std::string text; ///< what is known, without a hole; from its beginning, but for what was dropped
    struct {
        std::size_t bytes = 0; ///< of its beginning that are not kept any more: all of them delivered
        std::size_t ink = 0;   ///< of those, the ones that are no space
    } dropped;
    tool_event tool;
    std::string child_session; ///< that the tool started
    bool rejected = false;     ///< the tool failed because its permission or question was rejected

    struct {
        std::size_t text = 0; ///< how much of the text, with what was dropped
        tool_event tool;      ///< without a state: not yet
        bool hole = false;    ///< its end did not continue what was delivered, and that is still to be said
    } delivered;

    /// All that is known, kept or not.
    [[nodiscard]] std::size_t size() const noexcept { return dropped.bytes + text.size(); }
    /// Of the text that is kept, what was delivered.
    [[nodiscard]] std::size_t delivered_of_kept() const noexcept { return delivered.text - dropped.bytes; }
    /// What the server says is the text goes on with what was delivered of it.
    [[nodiscard]] bool goes_on_in(std::string_view whole) const noexcept;
    /// The same text, but for its spaces, as far as it is kept.
    [[nodiscard]] bool is_but_for_space(std::string_view whole) const noexcept;
    /// Keeps no more than the end of what was delivered: at least so many bytes are dropped, or all of that.
    void drop_delivered(std::size_t bytes);
    /// All of what is kept, which is delivered now; no more than its end stays, of about so many bytes.
    [[nodiscard]] std::string take_all_but(std::size_t bytes);
    /// What was not delivered is as though it had not been heard.
    void forget_undelivered();
    /// Nothing of it was delivered; what is not whole is as though it had not been heard.
    void begin_anew();

    [[nodiscard]] bool is_live() const noexcept {
        return heard == hearing::live || heard == hearing::abandoned;
    }
    /// Text may exist that nobody here has seen, and that may never come.
    [[nodiscard]] bool may_miss_text() const noexcept;
};

/// A text by which a copy of it is known: no more than its beginning is kept.
struct first_text {
    std::string beginning;
    std::size_t size = 0; ///< bytes of all of it
    std::size_t hash = 0; ///< of all of it
    friend bool operator==(const first_text&, const first_text&) = default;
};

struct message_record {
    enum class user_kind {
        unclassed,    ///< its first part has not come yet
        prompt,       ///< a turn of its own
        compaction,   ///< the server asks for a summary
        continuation, ///< the server's own, to go on after a compaction
        shell,        ///< of the shell route: no turn at all
    };

    message_info info;
    std::string owner;     ///< the prompt's id of the turn it belongs to; empty for none
    std::size_t index = 0; ///< its place in the order

    position known = 0;     ///< message.updated came, or a snapshot had it
    position heard = 0;     ///< the last event of it
    position begun = 0;     ///< it was found to be an unfinished answer of its owner
    position finished = 0;  ///< its end was learned
    position set_aside = 0; ///< it was a prompt that nobody was to answer

    user_kind kind = user_kind::unclassed;
    std::optional<first_text> first; ///< of a user message: its first part's, if that is a text
    bool parted = false;             ///< of a user message: its first part came
    bool automatic = false;          ///< of a compaction

    std::vector<part_record> parts;
    std::size_t next_part = 0; ///< where the one probably is that is looked for next
    bool usage_delivered = false;

    [[nodiscard]] bool answers() const noexcept { return known != 0 && info.assistant; }
    [[nodiscard]] bool is_summary() const noexcept;
    /// By its finish, or by its error; one that is only completed does not say how it ended.
    [[nodiscard]] bool says_how_it_ended() const noexcept {
        return info.finished() && (!info.finish.empty() || info.error);
    }
    /// An answer to nobody's prompt here, or of the shell route.
    [[nodiscard]] bool is_foreign() const noexcept {
        return known != 0 && (info.assistant ? owner.empty() : kind == user_kind::shell);
    }

    [[nodiscard]] part_record* find_part(std::string_view id);
    [[nodiscard]] part_record& part(std::string_view id);
    /// Brings the parts into this order, with a place for each that is not known yet; others stay last.
    void arrange_as(const std::vector<opencode::part>& order);
};

class transcript {
public:
    using list = std::vector<std::unique_ptr<message_record>>;

    [[nodiscard]] message_record* find(std::string_view id) const;
    /// The record of a message seen on the stream: what is new comes last.
    message_record& append(std::string_view id);
    /// The record of a message seen in a snapshot: what is new takes its place by time.
    message_record& place(std::string_view id, std::int64_t created_ms);
    void erase(std::string_view id);
    /// Erases all but these.
    void keep(const std::set<std::string>& ids);

    [[nodiscard]] const list& in_order() const noexcept { return order_; }

    /// The last assistant message of a turn; null for none.
    [[nodiscard]] message_record* last_answer(std::string_view owner) const;
    /// The last one that is not a summary of the server's own.
    [[nodiscard]] message_record* last_own_answer(std::string_view owner) const;
    [[nodiscard]] const message_record* last_answer_of_all() const;

    /// Says what a user message is, by its first part, and to which earlier turn it belongs if it is no
    /// prompt. `may_wake`: one of the server's own that belongs to no turn begins one, as when a child that
    /// worked on in the background wakes the session.
    void classify(message_record& m, const part& first, bool may_wake = false) const;
    /// Says to which turn one of the server's own user messages belongs whose prompt was not known when it
    /// was classed.
    void own_again(message_record& m) const;

    /// What asked for a summary, when that was the server itself, which goes on with the turn afterwards;
    /// else null.
    [[nodiscard]] const message_record* own_compaction_of(const message_record& summary) const;
    [[nodiscard]] bool compacted_between(const message_record& a, const message_record& b) const;
    /// A prompt follows this one.
    [[nodiscard]] bool has_later_prompt(const message_record& prompt) const;

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

} // namespace holdfast::opencode::ledger
