// The log says each thing once: an incident's first line, a summary now and then, its end. Pure; `runtime`
// writes the lines and wakes it.
//
//     for (const auto& line : incidents.trouble(record, now)) write(line);
//
// and, when incidents.due() comes, what incidents.poll(now) gives.
#pragma once

#include <holdfast/retry/log_record.hpp>
#include <holdfast/time.hpp>

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

namespace holdfast::retry {

/// The settings of an incident_log.
struct incident_limits {
    unsigned lines_per_second = 20;        ///< of level info and graver, in any second; 0: no limit
    unsigned debug_lines_per_second = 200; ///< of level debug, apart from those; 0: no limit
    unsigned own_lines = 3;   ///< so many that fail in one class are told one by one, more share an incident
    unsigned worst = 3;       ///< how many a shared line names
    unsigned first_lines = 4; ///< classes, and graver levels, of one incident that get a line of their own
    /// Well for so long, an incident is over: the next failure is a new one. At least 1 s.
    duration settled_after = minutes(15);
    /// Not heard of for so long, a failing one counts as left; longer than any delay of a schedule. At least
    /// 1 s.
    duration forgotten_after = minutes(120);
    /// How many endpoints and sessions are told apart; past it the one not heard of for longest is forgotten.
    std::size_t subjects = 4096;
    std::size_t text = 256; ///< bytes that are kept of each text
};

/// Turns reports of failures and successes into the few lines that a person wants to read.
///
/// What fails is an endpoint (the classes refused, unreachable, timeout, dns and tls of a record that names
/// one), else a session, else an endpoint's stream, else the caller's tag; the class decides, never the text.
///
/// One incident: the first failure of each class is written at once, as it was given, and so is a record
/// graver than all before; repeats are debug records. As long as it goes on it is summed up after 1, 5 and 15
/// minutes and then hourly, where there is something new; summaries due at about the same time are one line.
/// When it is well again, one line tells for how long and how often it failed.
///
/// Many: when more than `own_lines` fail in one class they share an incident, whose lines name the worst few.
/// Who joins or recovers, and in which further classes they fail, is told within a minute, and when that goes
/// on ever less often.
///
/// Unsteady: what fails and recovers by turns is told of at once only the first time. Each further change
/// must last, first for 1 minute, then for 2, 4, ... up to `settled_after`; the summaries count meanwhile.
///
/// Its own lines are the events incident.shared, incident.continues, incident.recovered (`action`
/// "recovered", or "left" when nobody asks any more) and log.dropped; `failures` counts the whole incident,
/// `suppressed` what was not written since its last line. A line of an incident is late rather than dropped
/// when there are too many. Its memory is bounded by the limits.
///
/// Thread safety: distinct objects safe, shared objects unsafe.
class incident_log {
public:
    using lines = std::vector<log_record>;

    explicit incident_log(incident_limits limits = {});
    incident_log(incident_log&&) noexcept;
    incident_log& operator=(incident_log&&) noexcept;
    ~incident_log();

    /// Something failed. The record names its class; a level below warn counts as warn.
    [[nodiscard]] lines trouble(const log_record& record, time_point now);

    /// Something works: `record.endpoint` answers, and its `record.session` (else its stream, else
    /// `record.tag`) is well. The record itself is written as note() does, at debug if it ends a failure;
    /// without an event it is not.
    [[nodiscard]] lines success(const log_record& record, time_point now);

    /// The endpoint answers; whether its streams and sessions are well is another matter.
    [[nodiscard]] lines reached(const std::string& endpoint, time_point now);

    /// Nobody will ask `record.endpoint` any more, or, where it names one, its `record.session` alone (moved,
    /// removed): what failed there ends without being well. Nothing else of the record counts.
    [[nodiscard]] lines leave(const log_record& record, time_point now);

    /// Any other record: written as it is, but for lines_per_second.
    [[nodiscard]] lines note(const log_record& record, time_point now);

    /// What is due by now: summaries, changes that lasted, a count of dropped lines.
    [[nodiscard]] lines poll(time_point now);

    /// When poll() may next have something; later than the `now` of the call before. time_point::max():
    /// nothing.
    [[nodiscard]] time_point due() const noexcept;

    /// How many endpoints and sessions fail, or did lately.
    [[nodiscard]] std::size_t subjects() const noexcept;
    /// How many incidents go on, or did lately; a shared one is one.
    [[nodiscard]] std::size_t incidents() const noexcept;

private:
    struct core;
    std::unique_ptr<core> core_;
};

} // namespace holdfast::retry
