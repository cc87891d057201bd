// Which cases of the protocol a run has shown: a pure recogniser of the orders of events that the real server
// was seen to make. Fed with a recording, or with opencode_sim::on_event(), it says which rows occurred; a
// coverage table adds them up over many seeds.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::test {

enum class row {
    // How turns end.
    normal,
    abort_while_streaming,
    abort_while_a_tool_runs,
    abort_while_asked,
    abort_in_retry_wait,
    abort_before_the_loop,
    abort_while_idle,
    abort_of_an_unknown_session,
    abort_twice,
    model_error,
    retries_used_up,
    unknown_model,
    unknown_agent,
    overflow_recovers,
    overflow_compaction_fails,
    permission_rejected,
    question_rejected,
    rejected_with_a_message,
    prompt_while_busy,
    no_reply_prompt,
    subagent,
    subagent_asks,
    abort_parent,
    delete_while_running,
    server_killed,
    // Further traps.
    finish_before_the_first_part,
    ask_before_the_tool_runs,
    error_after_idle,
    error_without_session,
    cold_instance,
    ghost_left,
    ghost_answered,
    retry_recovers,
    retry_after_header,
    thrown_away_try,
    continuation_synthetic,
    continuation_copy,
    prompts_merged,
    prompt_taken_during_a_tool,
    both_prompts_answered,
    abort_with_two_open,
    repost_while_running,
    repost_after_the_end,
    shell_command,
    mute_stream,
    dispose_in_mid_turn,
    dispose_ends_the_stream,
};

struct row_text {
    test::row row;
    std::string_view name;
    std::string_view what; ///< one line
};

/// Every row, in the order of the enumeration.
[[nodiscard]] const std::vector<row_text>& all_rows();
[[nodiscard]] std::string_view name_of(row r);
/// One line a row: how often it was counted, its name, what it is. Rows without a count are shown with 0.
[[nodiscard]] std::string row_table(const std::map<row, std::size_t>& counts);
/// The rows that were counted nowhere.
[[nodiscard]] std::vector<row_text> rows_without(const std::map<row, std::size_t>& counts);

/// See the top of this file. Of one server; sessions and directories may be many. Events of a server before
/// version 1.18 are not understood.
///
/// Thread safety: distinct objects safe, shared objects unsafe.
class protocol_rows {
public:
    protocol_rows();
    protocol_rows(protocol_rows&&) noexcept;
    protocol_rows& operator=(protocol_rows&&) noexcept;
    ~protocol_rows();

    /// The next event, {"id","type","properties"}, of the instance of `directory` (which may be left empty:
    /// then a disposal is taken as that of every session seen).
    void event(std::string_view directory, std::string_view payload);

    // What no event tells.

    /// The process is gone: nothing was announced.
    void process_killed();
    /// From here on (or no longer) streams carry heartbeats alone, though there are events.
    void muted(bool on);
    /// Nothing is under way any more: a prompt that was never taken up did not want a reply.
    void quiet();

    [[nodiscard]] const std::set<row>& seen() const;

private:
    class impl;
    std::unique_ptr<impl> impl_;
};

} // namespace holdfast::test
