#include <holdfast/retry/incident_log.hpp>

#include <holdfast/retry/failure.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <deque>
#include <limits>
#include <list>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace holdfast::retry {
namespace {

constexpr duration hour = minutes(60);
constexpr std::array<duration, 3> first_summaries{minutes(1), minutes(5), minutes(15)};
constexpr std::size_t max_classes = 32;
constexpr std::size_t max_classes_shown = 4; ///< in one line

/// Whether every stream and session of an endpoint meets a failure of this class.
bool is_of_endpoint(std::string_view error_class) {
    for (const auto each : {failure_class::refused, failure_class::unreachable, failure_class::timeout,
                            failure_class::dns, failure_class::tls})
        if (error_class == to_string(each))
            return true;
    return false;
}

/// 1 minute doubled so many times, up to `longest`.
duration doubled_minute(unsigned times, duration longest) {
    duration wait = minutes(1);
    for (; times > 0 && wait < longest; --times)
        wait = wait > longest / 2 ? longest : wait * 2;
    return std::min(wait, longest);
}

/// "45 s", "5 min", "3 h 12 min", "2 d 4 h"
std::string span_text(duration d) {
    const auto s = std::chrono::duration_cast<seconds>(d).count();
    const auto two = [](auto big, const char* unit, auto small, const char* smaller) {
        return std::to_string(big) + unit +
               (small > 0 ? ' ' + std::to_string(small) + smaller : std::string());
    };
    if (s < 60)
        return std::to_string(s) + " s";
    if (s < 3600)
        return two(s / 60, " min", s % 60, " s");
    if (s < 86400)
        return two(s / 3600, " h", s / 60 % 60, " min");
    return two(s / 86400, " d", s / 3600 % 24, " h");
}

unsigned clamped(std::uint64_t count) {
    return static_cast<unsigned>(std::min<std::uint64_t>(count, std::numeric_limits<unsigned>::max()));
}

/// At most so many lines in any second; what is over is counted.
class outlet {
public:
    outlet(unsigned per_second, log_level level) : per_second_(per_second), level_(level) {}

    /// When the next line may be written.
    [[nodiscard]] time_point free_at() const noexcept {
        const bool full = per_second_ > 0 && written_.size() == per_second_;
        return full ? later(written_.front(), seconds(1)) : time_point::min();
    }

    /// When the count of dropped lines is to be written: a second's worth of them in one line.
    [[nodiscard]] time_point due() const noexcept {
        return dropped_ == 0 ? time_point::max() : std::max(later(dropped_since_, seconds(1)), free_at());
    }

    void put(log_record line, time_point now, incident_log::lines& out) {
        out.push_back(std::move(line));
        if (per_second_ == 0)
            return;
        if (written_.size() == per_second_)
            written_.pop_front();
        written_.push_back(now);
    }

    void put_or_drop(const log_record& line, time_point now, incident_log::lines& out) {
        if (free_at() <= now)
            return put(line, now, out);
        if (dropped_++ == 0)
            dropped_since_ = now;
    }

    void tell_dropped(time_point now, incident_log::lines& out) {
        if (due() > now)
            return;
        log_record line;
        line.level = level_;
        line.event = "log.dropped";
        line.suppressed = clamped(std::exchange(dropped_, 0));
        line.error_message = std::to_string(line.suppressed) + " lines dropped, more than " +
                             std::to_string(per_second_) + " in a second";
        put(std::move(line), now, out);
    }

private:
    unsigned per_second_;
    log_level level_;                ///< of the line that tells of the dropped
    std::deque<time_point> written_; ///< the last per_second_ of them
    std::uint64_t dropped_ = 0;
    time_point dropped_since_{};
};

using class_id = std::size_t;

struct counter {
    class_id cls = 0;
    std::uint64_t all = 0;
    std::uint64_t untold = 0; ///< since the last line
};

enum class urgency {
    none,
    record,    ///< the last record is to be written as it is
    gathering, ///< that they share an incident from now on is to be told
};

struct incident {
    std::optional<class_id> shared_by; ///< none: of one subject
    time_point began{};                ///< the first failure
    std::vector<counter> counters;
    std::size_t members = 0; ///< subjects
    std::size_t failing = 0; ///< of these
    bool left = false;       ///< the last of these ended without being well
    log_record last;         ///< the last failure

    // What the log's reader knows, and is to know.
    bool told_failing = false;
    urgency urgent = urgency::record;
    log_level told_level = log_level::debug;
    unsigned first_lines = 0;
    time_point opened{}; ///< what the summaries are counted from
    std::size_t summaries = 0;
    time_point summary_at{};
    std::optional<time_point> turned;        ///< between failing and well; none before it failed
    unsigned turns = 0;                      ///< how unsteady it is of late
    time_point spread{};                     ///< when one joined or recovered
    std::optional<time_point> spread_untold; ///< since when one has
    unsigned spread_told = 0;                ///< lines that told so of late

    [[nodiscard]] std::uint64_t untold() const noexcept {
        std::uint64_t sum = 0;
        for (const auto& each : counters)
            sum += each.untold;
        return sum;
    }
    [[nodiscard]] std::uint64_t all() const noexcept {
        std::uint64_t sum = 0;
        for (const auto& each : counters)
            sum += each.all;
        return sum;
    }
    [[nodiscard]] bool has(class_id cls) const noexcept {
        return std::any_of(counters.begin(), counters.end(),
                           [&](const counter& each) { return each.cls == cls; });
    }
    counter& of(class_id cls) {
        const auto found = std::find_if(counters.begin(), counters.end(),
                                        [&](const counter& each) { return each.cls == cls; });
        return found != counters.end() ? *found : counters.emplace_back(counter{cls});
    }
    [[nodiscard]] bool summed_up_hourly() const noexcept { return summaries >= first_summaries.size(); }
    /// The summaries up to `now` are told, or had nothing to tell.
    void pass_summaries(time_point now) {
        while (summary_at <= now) {
            ++summaries;
            summary_at = later(summary_at, summed_up_hourly()
                                               ? hour
                                               : first_summaries[summaries] - first_summaries[summaries - 1]);
        }
    }
    /// The next summary is so near, for how long it goes on, that it may as well be told now.
    [[nodiscard]] bool near_summary(time_point now) const noexcept {
        return summary_at - now <= (summary_at - opened) / 4;
    }
};
using incident_ref = std::list<incident>::iterator;

// All failures of these by class, the most frequent first.
std::vector<counter> by_frequency(const std::vector<incident_ref>& those) {
    incident sum;
    for (const auto i : those)
        for (const auto& each : i->counters) {
            sum.of(each.cls).all += each.all;
            sum.of(each.cls).untold += each.untold;
        }
    std::stable_sort(sum.counters.begin(), sum.counters.end(),
                     [](const counter& a, const counter& b) { return a.all > b.all; });
    return sum.counters;
}

/// What of a place fails: whether it can be reached, or what it does once it is.
enum class part { reach, own };
using subject_key = std::pair<part, std::string>;

struct subject {
    subject_key key;
    incident_ref home;
    bool is_session = false;
    bool failing = false;
    time_point changed{}; ///< between failing and well
    time_point heard{};   ///< the last failure
    std::uint64_t count = 0;
};
using subject_ref = std::list<subject>::iterator;

} // namespace

struct incident_log::core {
    explicit core(incident_limits l)
        : limits(l), info_lines(l.lines_per_second, log_level::warn),
          debug_lines(l.debug_lines_per_second, log_level::debug) {}

    // --- who fails

    class_id class_of(const std::string& name);
    [[nodiscard]] std::string clipped(const std::string& text) const { return text.substr(0, limits.text); }
    [[nodiscard]] log_record clipped(const log_record& record) const;
    [[nodiscard]] subject_key own_key(const log_record& record) const;
    [[nodiscard]] subject_key reach_key(const std::string& endpoint) const;
    [[nodiscard]] subject_key failing_key(const log_record& record) const;

    // --- incidents and their members

    subject& find_or_make(const log_record& record, class_id cls, time_point now);
    incident_ref open_incident(time_point now);
    [[nodiscard]] std::optional<incident_ref> shared_by(class_id cls);
    [[nodiscard]] std::vector<incident_ref> own_with(class_id cls);
    incident_ref share(class_id cls, const std::vector<incident_ref>& own, time_point now);
    void merge(incident_ref from, incident_ref to, time_point now);
    void make_room(time_point now);
    void erase(subject_ref well);

    // --- failing and well

    void count(subject& who, class_id cls, const log_record& record, time_point now);
    void set_failing(subject& who, time_point now);
    void add_failing(incident& i, std::size_t more, time_point now) const;
    bool set_well(const subject_key& key, bool left, time_point now);
    void set_well(subject& who, bool left, time_point now);
    void note_spread(incident& i, time_point now) const;
    void sweep(time_point now);
    [[nodiscard]] time_point over_at(const subject& who) const;

    // --- lines

    [[nodiscard]] time_point line_due(const incident& i) const;
    void write_due(time_point now, lines& out);
    void write(incident_ref i, time_point now, lines& out);
    [[nodiscard]] std::vector<incident_ref> summed_up_with(incident_ref i, time_point now);
    static void note_told(incident& i);
    void write_plain(const log_record& record, time_point now, lines& out);

    // --- what they say

    using some = std::vector<incident_ref>;
    [[nodiscard]] log_record line_of(const some& those, time_point now) const;
    [[nodiscard]] static log_record record_line(const incident& i);
    [[nodiscard]] static bool is_of_one(const some& those);
    [[nodiscard]] std::string text_of_end(const incident& i, const some& those) const;
    [[nodiscard]] std::string text_of_failing(const some& those, time_point now) const;
    [[nodiscard]] std::string counts_of(const some& those) const;
    [[nodiscard]] std::string members_of(const some& those) const;
    [[nodiscard]] std::string worst_of(const some& those) const;

    const incident_limits limits;
    outlet info_lines;
    outlet debug_lines;
    std::vector<std::string> classes;
    std::list<incident> incidents;
    std::list<subject> subjects; ///< the one heard of last comes first
    std::map<subject_key, subject_ref> index;
    time_point next_sweep = time_point::max(); ///< no subject is over before
};

// --- who fails

class_id incident_log::core::class_of(const std::string& name) {
    const auto known = std::find(classes.begin(), classes.end(), clipped(name));
    if (known != classes.end())
        return static_cast<class_id>(known - classes.begin());
    if (classes.size() + 1 < max_classes)
        classes.push_back(clipped(name));
    else if (classes.size() < max_classes)
        classes.emplace_back("other");
    return classes.size() - 1;
}

log_record incident_log::core::clipped(const log_record& record) const {
    log_record kept;
    kept.level = std::max(record.level, log_level::warn);
    kept.event = clipped(record.event);
    kept.endpoint = clipped(record.endpoint);
    kept.session = clipped(record.session);
    kept.tag = clipped(record.tag);
    kept.error_class = clipped(record.error_class);
    kept.error_message = clipped(record.error_message);
    kept.failures = record.failures;
    kept.action = clipped(record.action);
    kept.retry_in_ms = record.retry_in_ms;
    return kept;
}

subject_key incident_log::core::own_key(const log_record& record) const {
    const auto& name = !record.session.empty()    ? record.session
                       : !record.endpoint.empty() ? record.endpoint
                                                  : record.tag;
    return {part::own, clipped(name)};
}

subject_key incident_log::core::reach_key(const std::string& endpoint) const {
    return {part::reach, clipped(endpoint)};
}

subject_key incident_log::core::failing_key(const log_record& record) const {
    return !record.endpoint.empty() && is_of_endpoint(record.error_class) ? reach_key(record.endpoint)
                                                                          : own_key(record);
}

// --- incidents and their members

// Also gives the subject its incident: its own, or the one that all share who fail in this class.
subject& incident_log::core::find_or_make(const log_record& record, class_id cls, time_point now) {
    auto key = failing_key(record);
    const auto known = index.find(key);
    if (known != index.end()) {
        subjects.splice(subjects.begin(), subjects, known->second);
    } else {
        make_room(now);
        subject who;
        who.is_session = key.first == part::own && !record.session.empty();
        who.key = key;
        who.home = incidents.end();
        subjects.push_front(std::move(who));
        index.emplace(std::move(key), subjects.begin());
    }
    subject& who = subjects.front();
    const bool placed = who.home != incidents.end();
    if (placed && (who.home->shared_by || who.home->has(cls)))
        return who;

    auto to = shared_by(cls);
    if (!to) {
        const auto others = own_with(cls);
        if (others.size() >= limits.own_lines)
            to = share(cls, others, now);
    }
    if (placed && to) {
        merge(who.home, *to, now);
    } else if (!placed) {
        who.home = to ? *to : open_incident(now);
        ++who.home->members;
    }
    return who;
}

incident_ref incident_log::core::open_incident(time_point now) {
    incident i;
    i.began = i.opened = now;
    i.summary_at = later(now, first_summaries.front());
    return incidents.insert(incidents.end(), std::move(i));
}

std::optional<incident_ref> incident_log::core::shared_by(class_id cls) {
    for (auto i = incidents.begin(); i != incidents.end(); ++i)
        if (i->shared_by == cls)
            return i;
    return std::nullopt;
}

std::vector<incident_ref> incident_log::core::own_with(class_id cls) {
    std::vector<incident_ref> found;
    for (auto i = incidents.begin(); i != incidents.end(); ++i)
        if (!i->shared_by && i->has(cls))
            found.push_back(i);
    return found;
}

incident_ref incident_log::core::share(class_id cls, const std::vector<incident_ref>& own, time_point now) {
    const auto shared = open_incident(now);
    shared->shared_by = cls;
    shared->urgent = urgency::gathering;
    for (const auto each : own)
        merge(each, shared, now);
    return shared;
}

void incident_log::core::merge(incident_ref from, incident_ref to, time_point now) {
    to->began = std::min(to->began, from->began);
    for (const auto& each : from->counters) {
        auto& sum = to->of(each.cls);
        sum.all += each.all;
        sum.untold += each.untold;
    }
    to->members += from->members;
    add_failing(*to, from->failing, now);
    to->told_level = std::max(to->told_level, from->told_level);
    for (auto& each : subjects)
        if (each.home == from)
            each.home = to;
    incidents.erase(from);
}

// Those of shared incidents go first: when they are heard of again that is no news.
void incident_log::core::make_room(time_point now) {
    if (subjects.size() < std::max<std::size_t>(limits.subjects, 1))
        return;
    auto victim = std::find_if(subjects.rbegin(), subjects.rend(),
                               [](const subject& each) { return each.home->shared_by.has_value(); });
    if (victim == subjects.rend())
        victim = subjects.rbegin();
    if (victim->failing)
        set_well(*victim, true, now);
    erase(std::prev(victim.base()));
}

void incident_log::core::erase(subject_ref well) {
    const auto home = well->home;
    if (--home->members == 0)
        incidents.erase(home);
    index.erase(well->key);
    subjects.erase(well);
}

// --- failing and well

void incident_log::core::count(subject& who, class_id cls, const log_record& record, time_point now) {
    incident& i = *who.home;
    const bool new_class = !i.has(cls);
    auto& counted = i.of(cls);
    if (i.untold() == 0)
        i.pass_summaries(now);
    ++counted.all;
    ++counted.untold;
    ++who.count;
    who.heard = now;
    next_sweep = std::min(next_sweep, over_at(who));
    i.last = clipped(record);
    if (new_class && i.shared_by)
        note_spread(i, now);
    const bool is_news = (new_class && !i.shared_by) || i.last.level > i.told_level;
    if (i.urgent == urgency::none && is_news && i.first_lines < limits.first_lines)
        i.urgent = urgency::record;
}

void incident_log::core::set_failing(subject& who, time_point now) {
    if (who.failing)
        return;
    who.failing = true;
    who.changed = now;
    add_failing(*who.home, 1, now);
}

void incident_log::core::add_failing(incident& i, std::size_t more, time_point now) const {
    if (more == 0)
        return;
    const bool was_failing = i.failing > 0;
    i.failing += more;
    if (was_failing)
        return note_spread(i, now);
    if (i.turned)
        ++i.turns;
    i.turned = now;
}

bool incident_log::core::set_well(const subject_key& key, bool left, time_point now) {
    const auto found = index.find(key);
    if (found == index.end() || !found->second->failing)
        return false;
    set_well(*found->second, left, now);
    return true;
}

void incident_log::core::set_well(subject& who, bool left, time_point now) {
    incident& i = *who.home;
    who.failing = false;
    who.changed = now;
    next_sweep = std::min(next_sweep, over_at(who));
    i.left = left;
    if (--i.failing > 0)
        return note_spread(i, now);
    if (now - *i.turned >= limits.settled_after)
        i.turns = 0;
    i.turned = now;
}

void incident_log::core::note_spread(incident& i, time_point now) const {
    if (now - i.spread >= limits.settled_after)
        i.spread_told = 0;
    i.spread = now;
    if (!i.spread_untold)
        i.spread_untold = now;
}

time_point incident_log::core::over_at(const subject& who) const {
    return who.failing ? later(who.heard, limits.forgotten_after) : later(who.changed, limits.settled_after);
}

void incident_log::core::sweep(time_point now) {
    if (now < next_sweep)
        return;
    next_sweep = time_point::max();
    for (auto each = subjects.begin(); each != subjects.end();) {
        const auto who = each++;
        if (over_at(*who) <= now && who->failing)
            set_well(*who, true, now);
        if (over_at(*who) > now)
            next_sweep = std::min(next_sweep, over_at(*who));
        else if (who->home->members > 1 ||
                 line_due(*who->home) == time_point::max()) // else its last line brings it back
            erase(who);
    }
}

// --- lines

time_point incident_log::core::line_due(const incident& i) const {
    if (i.urgent != urgency::none)
        return time_point::min();
    time_point due = time_point::max();
    if (i.told_failing != (i.failing > 0)) {
        const auto must_last =
            i.turns == 0 ? duration::zero() : doubled_minute(i.turns - 1, limits.settled_after);
        due = std::min(due, later(i.turned.value_or(i.opened), must_last));
    }
    if (i.spread_untold)
        due = std::min(due, later(*i.spread_untold, doubled_minute(i.spread_told, hour)));
    if (i.untold() > 0)
        due = std::min(due, i.summary_at);
    return due;
}

void incident_log::core::write_due(time_point now, lines& out) {
    sweep(now);
    info_lines.tell_dropped(now, out);
    debug_lines.tell_dropped(now, out);
    for (auto i = incidents.begin(); i != incidents.end(); ++i)
        while (line_due(*i) <= now && info_lines.free_at() <= now)
            write(i, now, out);
}

void incident_log::core::write(incident_ref i, time_point now, lines& out) {
    const auto those = summed_up_with(i, now);
    info_lines.put(line_of(those, now), now, out);
    const auto summary_at = i->summary_at;
    for (const auto each : those) {
        note_told(*each);
        each->summary_at = std::min(each->summary_at, summary_at); // from now on they are due together
        each->pass_summaries(now);
    }
    next_sweep = std::min(next_sweep, later(now, seconds(1)));
}

// A summary takes along the others that have something to say and are near theirs, or have news; news take
// along news.
std::vector<incident_ref> incident_log::core::summed_up_with(incident_ref i, time_point now) {
    some those{i};
    const auto can_share_a_line = [](const incident& each) {
        return each.urgent == urgency::none && each.failing > 0 && each.told_failing;
    };
    if (!can_share_a_line(*i))
        return those;
    const bool is_summary = i->untold() > 0 && i->summary_at <= now;
    for (auto other = incidents.begin(); other != incidents.end(); ++other) {
        const bool wants =
            other->spread_untold || (is_summary && other->untold() > 0 && other->near_summary(now));
        if (other != i && wants && can_share_a_line(*other))
            those.push_back(other);
    }
    return those;
}

// The line just written tells all there is to tell.
void incident_log::core::note_told(incident& i) {
    // The record of a failure says that it fails, though it may be well by now.
    const bool as_record = i.urgent == urgency::record;
    i.told_failing = as_record || i.failing > 0;
    i.told_level = std::max(i.told_level, i.last.level);
    i.first_lines += as_record ? 1 : 0;
    i.spread_told += i.spread_untold && i.urgent != urgency::gathering ? 1 : 0;
    i.spread_untold.reset();
    i.urgent = urgency::none;
    for (auto& each : i.counters)
        each.untold = 0;
}

void incident_log::core::write_plain(const log_record& record, time_point now, lines& out) {
    (record.level == log_level::debug ? debug_lines : info_lines).put_or_drop(record, now, out);
}

// --- what they say

log_record incident_log::core::record_line(const incident& i) {
    log_record line = i.last;
    line.suppressed = clamped(i.untold() - 1);
    return line;
}

log_record incident_log::core::line_of(const some& those, time_point now) const {
    const incident& i = *those.front();
    if (i.urgent == urgency::record)
        return record_line(i);
    log_record line;
    if (is_of_one(those))
        line = i.last;
    std::uint64_t all = 0;
    std::uint64_t untold = 0;
    for (const auto each : those) {
        all += each->all();
        untold += each->untold();
    }
    line.failures = clamped(all);
    line.suppressed = clamped(untold);
    line.error_class = classes[by_frequency(those).front().cls];
    if (i.failing > 0) {
        line.level = log_level::warn;
        line.event = i.urgent == urgency::gathering ? "incident.shared" : "incident.continues";
        line.error_message = text_of_failing(those, now);
    } else {
        line.level = log_level::info;
        line.event = "incident.recovered";
        line.action = i.left ? "left" : "recovered";
        line.retry_in_ms.reset();
        line.error_message = text_of_end(i, those);
    }
    return line;
}

bool incident_log::core::is_of_one(const some& those) {
    return those.size() == 1 && !those.front()->shared_by;
}

std::string incident_log::core::text_of_end(const incident& i, const some& those) const {
    return (i.left ? "no longer asked, after " : "well again after ") + span_text(*i.turned - i.began) +
           ": " + counts_of(those);
}

std::string incident_log::core::text_of_failing(const some& those, time_point now) const {
    const auto first = *std::min_element(those.begin(), those.end(),
                                         [](const auto& a, const auto& b) { return a->began < b->began; });
    const auto so_far = counts_of(those) + " in " + span_text(now - first->began);
    if (is_of_one(those))
        return so_far + ", last: " + first->last.error_message;
    return members_of(those) + ": " + so_far + "; worst: " + worst_of(those);
}

/// "refused 57 times, timeout 1 time"
std::string incident_log::core::counts_of(const some& those) const {
    std::string text;
    const auto add = [&](const std::string& what, std::uint64_t count) {
        text += (text.empty() ? "" : ", ") + what + ' ' + std::to_string(count) +
                (count == 1 ? " time" : " times");
    };
    const auto all = by_frequency(those);
    const auto shown = std::min(all.size(), max_classes_shown);
    std::uint64_t others = 0;
    for (std::size_t n = 0; n < all.size(); ++n)
        if (n < shown)
            add(classes[all[n].cls], all[n].all);
        else
            others += all[n].all;
    if (others > 0)
        add("others", others);
    return text;
}

/// "998 endpoints and 3 sessions fail, 2 are well again"
std::string incident_log::core::members_of(const some& those) const {
    std::size_t endpoints = 0;
    std::size_t sessions = 0;
    std::size_t well = 0;
    for (const auto& each : subjects) {
        if (std::find(those.begin(), those.end(), each.home) == those.end())
            continue;
        auto& kind = !each.failing ? well : each.is_session ? sessions : endpoints;
        ++kind;
    }
    std::string text;
    const auto add = [&](std::size_t count, std::string_view what) {
        if (count > 0)
            text += (text.empty() ? "" : " and ") + std::to_string(count) + ' ' + std::string(what) +
                    (count == 1 ? "" : "s");
    };
    add(endpoints, "endpoint");
    add(sessions, "session");
    text += endpoints + sessions == 1 ? " fails" : " fail";
    if (well > 0)
        text += ", " + std::to_string(well) + (well == 1 ? " is" : " are") + " well again";
    return text;
}

/// "http://a.test:4096 (57), http://b.test:4096 (56)"
std::string incident_log::core::worst_of(const some& those) const {
    std::vector<const subject*> failing;
    for (const auto& each : subjects)
        if (each.failing && std::find(those.begin(), those.end(), each.home) != those.end())
            failing.push_back(&each);
    const auto shown = std::min<std::size_t>(limits.worst, failing.size());
    std::partial_sort(failing.begin(), failing.begin() + static_cast<std::ptrdiff_t>(shown), failing.end(),
                      [](const subject* a, const subject* b) {
                          return a->count != b->count ? a->count > b->count : a->key < b->key;
                      });
    std::string text;
    for (std::size_t n = 0; n < shown; ++n)
        text +=
            (n == 0 ? "" : ", ") + failing[n]->key.second + " (" + std::to_string(failing[n]->count) + ')';
    return text;
}

// --- the interface

incident_log::incident_log(incident_limits limits) {
    limits.settled_after = std::max<duration>(limits.settled_after, seconds(1));
    limits.forgotten_after = std::max<duration>(limits.forgotten_after, seconds(1));
    core_ = std::make_unique<core>(limits);
}

incident_log::incident_log(incident_log&&) noexcept = default;
incident_log& incident_log::operator=(incident_log&&) noexcept = default;
incident_log::~incident_log() = default;

incident_log::lines incident_log::trouble(const log_record& record, time_point now) {
    lines out;
    core_->sweep(now);
    const auto cls = core_->class_of(record.error_class);
    subject& who = core_->find_or_make(record, cls, now);
    core_->count(who, cls, record, now);
    core_->set_failing(who, now);
    const incident& i = *who.home;
    const bool wants_a_line = i.urgent == urgency::record;
    core_->write_due(now, out);
    if (wants_a_line && i.urgent == urgency::none)
        return out;
    log_record repeat = record;
    repeat.level = log_level::debug;
    core_->write_plain(repeat, now, out);
    return out;
}

incident_log::lines incident_log::success(const log_record& record, time_point now) {
    lines out;
    const bool reached =
        !record.endpoint.empty() && core_->set_well(core_->reach_key(record.endpoint), false, now);
    const bool well = core_->set_well(core_->own_key(record), false, now);
    core_->write_due(now, out);
    if (record.event.empty())
        return out;
    log_record plain = record;
    if (reached || well)
        plain.level = log_level::debug;
    core_->write_plain(plain, now, out);
    return out;
}

incident_log::lines incident_log::reached(const std::string& endpoint, time_point now) {
    lines out;
    core_->set_well(core_->reach_key(endpoint), false, now);
    core_->write_due(now, out);
    return out;
}

incident_log::lines incident_log::leave(const log_record& record, time_point now) {
    lines out;
    core_->set_well(core_->own_key(record), true, now);
    if (record.session.empty())
        core_->set_well(core_->reach_key(record.endpoint), true, now);
    core_->write_due(now, out);
    return out;
}

incident_log::lines incident_log::note(const log_record& record, time_point now) {
    lines out;
    core_->write_due(now, out);
    core_->write_plain(record, now, out);
    return out;
}

incident_log::lines incident_log::poll(time_point now) {
    lines out;
    core_->write_due(now, out);
    return out;
}

time_point incident_log::due() const noexcept {
    time_point line = time_point::max();
    for (const auto& each : core_->incidents)
        line = std::min(line, core_->line_due(each));
    if (line != time_point::max())
        line = std::max(line, core_->info_lines.free_at());
    return std::min({line, core_->info_lines.due(), core_->debug_lines.due(), core_->next_sweep});
}

std::size_t incident_log::subjects() const noexcept {
    return core_->subjects.size();
}

std::size_t incident_log::incidents() const noexcept {
    return core_->incidents.size();
}

} // namespace holdfast::retry
