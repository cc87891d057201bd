// What the library counts: plain numbers, for whoever wants to show them. Names and units are all here; the
// numbers are at `runtime`, see runtime::value().
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace holdfast {

/// Counters only grow; gauges go up and down. Names are Prometheus names; a unit that is not "so many" is
/// part of the name (bytes, seconds).
enum class metric : std::size_t {
    connections_opened,
    connections_failed,
    connect_waits,
    local_pauses,
    shared_failures,
    retry_waits,
    streams_opened,
    stream_interruptions,
    streams_given_up,
    stream_events,
    stream_events_skipped,
    stream_bytes,
    streams_open,
    requests,
    requests_failed,
    snapshots,
    snapshots_failed,
    captures,
    captures_failed,
    sessions_held,
    sessions_captured,
    turns_opened,
    turns_open,
    turns_completed,
    turns_failed,
    turns_aborted,
    turns_rejected,
    turns_lost,
    turns_detached,
    turn_limits_passed,
    asks,
    asks_answered_by_rule,
    asks_timed_out,
    asks_waiting,
    log_lines,
    log_lines_suppressed,
    count_, // how many there are
};

inline constexpr std::size_t metric_count = static_cast<std::size_t>(metric::count_);

struct metric_info {
    metric which;
    enum class kind { counter, gauge } what;
    std::string_view name;  ///< "holdfast_turns_settled_total"
    std::string_view label; ///< "outcome=\"completed\"", or empty; entries of one name stand side by side
    std::string_view help;
};

/// Each metric, in the order of the enumeration.
inline constexpr std::array<metric_info, metric_count> metric_table = [] {
    using enum metric;
    constexpr auto counter = metric_info::kind::counter;
    constexpr auto gauge = metric_info::kind::gauge;
    constexpr std::string_view settled = "holdfast_turns_settled_total";
    constexpr std::string_view settled_help = "Turns that are over, by how they ended.";
    return std::array<metric_info, metric_count>{{
        {connections_opened, counter, "holdfast_connections_opened_total", "", "TCP connections made."},
        {connections_failed, counter, "holdfast_connections_failed_total", "",
         "TCP connections that could not be made, or not in time."},
        {connect_waits, counter, "holdfast_connect_waits_total", "",
         "Attempts that had to wait for the limit of connections a second."},
        {local_pauses, counter, "holdfast_local_pauses_total", "",
         "Times all connecting was paused for this machine's own faults (descriptors, memory, ports)."},
        {shared_failures, counter, "holdfast_shared_failures_total", "",
         "Attempts that were not made because another's had just failed at the same endpoint."},
        {retry_waits, counter, "holdfast_retry_waits_total", "",
         "Retries of calls that had to wait for the retry budget."},
        {streams_opened, counter, "holdfast_streams_opened_total", "",
         "Event streams opened, each time anew."},
        {stream_interruptions, counter, "holdfast_stream_interruptions_total", "",
         "Event streams that ended or could not be had, and are tried again."},
        {streams_given_up, counter, "holdfast_streams_given_up_total", "",
         "Event streams that are not tried again."},
        {stream_events, counter, "holdfast_stream_events_total", "", "Events that came by streams."},
        {stream_events_skipped, counter, "holdfast_stream_events_skipped_total", "",
         "Events left out because they were over a limit."},
        {stream_bytes, counter, "holdfast_stream_bytes_total", "",
         "Bytes that came by streams, without the framing of HTTP."},
        {streams_open, gauge, "holdfast_streams_open", "", "Event streams that are open now."},
        {requests, counter, "holdfast_requests_total", "",
         "Calls made to servers, those retried once each time."},
        {requests_failed, counter, "holdfast_requests_failed_total", "", "Calls that failed."},
        {snapshots, counter, "holdfast_snapshots_total", "", "Snapshots taken to mend what a stream missed."},
        {snapshots_failed, counter, "holdfast_snapshots_failed_total", "", "Such snapshots that failed."},
        {captures, counter, "holdfast_captures_total", "", "Looks taken at sessions without a stream."},
        {captures_failed, counter, "holdfast_captures_failed_total", "", "Such looks that failed."},
        {sessions_held, gauge, "holdfast_sessions_held", "", "Sessions that are held now."},
        {sessions_captured, gauge, "holdfast_sessions_captured", "",
         "Sessions that are looked at now and then instead of by a stream, now."},
        {turns_opened, counter, "holdfast_turns_opened_total", "", "Turns that began."},
        {turns_open, gauge, "holdfast_turns_open", "", "Turns that are not over now."},
        {turns_completed, counter, settled, "outcome=\"completed\"", settled_help},
        {turns_failed, counter, settled, "outcome=\"failed\"", settled_help},
        {turns_aborted, counter, settled, "outcome=\"aborted\"", settled_help},
        {turns_rejected, counter, settled, "outcome=\"rejected\"", settled_help},
        {turns_lost, counter, settled, "outcome=\"lost\"", settled_help},
        {turns_detached, counter, settled, "outcome=\"detached\"", settled_help},
        {turn_limits_passed, counter, "holdfast_turn_limits_passed_total", "",
         "Turns that were aborted for a limit of time, progress, tokens or cost."},
        {asks, counter, "holdfast_asks_total", "", "Permissions and questions that servers asked for."},
        {asks_answered_by_rule, counter, "holdfast_asks_answered_by_rule_total", "",
         "Those that a rule answered at once."},
        {asks_timed_out, counter, "holdfast_asks_timed_out_total", "",
         "Those that got their default answer because nobody gave one in time."},
        {asks_waiting, gauge, "holdfast_asks_waiting", "", "Those that wait for an answer now."},
        {log_lines, counter, "holdfast_log_lines_total", "",
         "Records written to the log, but for those of level debug."},
        {log_lines_suppressed, counter, "holdfast_log_lines_suppressed_total", "",
         "Records that were repeats or too many; counted when a line of the log tells so."},
    }};
}();

namespace detail {

constexpr bool is_in_order() {
    for (std::size_t n = 0; n < metric_count; ++n)
        if (static_cast<std::size_t>(metric_table[n].which) != n)
            return false;
    return true;
}
static_assert(is_in_order());

} // namespace detail

} // namespace holdfast
