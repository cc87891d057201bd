// The campaign's judge. What holdfast told of a turn is held against what the server has stored, what the
// scripted model counted, and what was done to the server meanwhile; none of it comes through holdfast.
#pragma once

#include <holdfast/opencode/agent_event.hpp>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::test {

/// One message of a session, as GET /session/ID/message has it.
struct stored_message {
    struct part {
        std::string id;
        std::string type;
        std::string text;
        bool tool_failed = false;
    };
    std::string id;
    std::string parent; ///< empty: a user's message
    bool summary = false;
    std::string finish;
    std::string error; ///< its name
    std::int64_t created_ms = 0;
    std::optional<std::int64_t> completed_ms;
    std::vector<part> parts;

    [[nodiscard]] std::string text() const; ///< its text parts, joined
};

/// Reads the body of GET /session/ID/message. Throws when it is not that.
[[nodiscard]] std::vector<stored_message> read_stored(std::string_view body);

/// What the campaign itself knows of one prompt.
struct prompt_facts {
    std::string name;          ///< for complaints
    std::string message;       ///< its id
    std::string text;          ///< what the model says at last, when nothing interferes
    std::size_t runs = 0;      ///< how often the model was asked for it
    std::size_t most_runs = 1; ///< how often its script asks for
    bool posted_before = true; ///< its id was known to the server at some time
    bool abort_asked = false;  ///< by us, for the session, while it was open
    bool disposed = false;     ///< its instance was disposed of while it was open
    bool killed = false;       ///< the server was killed while it was open
    bool drops_a_try = false;  ///< its script throws a try away, with its text
};

/// What holdfast told of it.
struct told_facts {
    std::size_t settlements = 0;
    bool settlement_last = true;
    opencode::settlement how;                 ///< when there was one
    std::map<std::string, std::string> texts; ///< of text and reasoning, by part
    bool missing = false;                     ///< it said that text is missing
};

enum class offence {
    wrong,      ///< another outcome or text than the truth, or not told as promised
    doubled,    ///< the model was asked more often than the script asks for
    hung,       ///< no settlement
    lost_alive, ///< called lost though its server lived
};
[[nodiscard]] std::string_view to_string(offence what) noexcept;

struct complaint {
    offence what;
    std::string words;
};

/// Nothing: the turn was told truthfully.
[[nodiscard]] std::vector<complaint> judge(const prompt_facts& facts, const told_facts& told,
                                           const std::vector<stored_message>& stored);

/// When the server was done with a prompt (ms since the epoch), by its own clock: its last message's end, or
/// that of the later prompt that answered it. Nothing: never.
[[nodiscard]] std::optional<std::int64_t> end_of(const prompt_facts& facts,
                                                 const std::vector<stored_message>& stored);

} // namespace holdfast::test
