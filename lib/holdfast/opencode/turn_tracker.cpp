#include <holdfast/opencode/turn_tracker.hpp>

#include <holdfast/opencode/ledger/turn_tracker.hpp>
#include <holdfast/opencode/protocol/kept_actions.hpp>

#include <utility>

namespace holdfast::opencode {

/// The tracker of the ledger returns what is to be done; here it is kept until it is asked for.
struct turn_tracker::state : detail::kept_actions {
    state(const std::string& session_id, const tracker_options& options) : tracker(session_id, options) {}

    ledger::turn_tracker tracker;

    bool merge(snapshot s, mark taken, bool by_capture, time_point now) {
        is_void = false;
        take(tracker.merge(std::move(s), taken.position, by_capture, now));
        return !is_void;
    }
};

namespace {

std::vector<turn_tracker::output> as_outputs(std::vector<ledger::deliver> told) {
    std::vector<turn_tracker::output> all;
    for (auto& each : told)
        all.push_back({std::move(each.message), std::move(each.event), each.ours});
    return all;
}

} // namespace

turn_tracker::turn_tracker(std::string session_id, tracker_options options)
    : state_(std::make_unique<state>(session_id, options)) {}
turn_tracker::~turn_tracker() = default;
turn_tracker::turn_tracker(turn_tracker&&) noexcept = default;
turn_tracker& turn_tracker::operator=(turn_tracker&&) noexcept = default;

void turn_tracker::open(std::string message_id, time_point now) {
    state_->take(state_->tracker.open(message_id, now));
}

void turn_tracker::adopt(std::string message_id, time_point now) {
    state_->take(state_->tracker.adopt(message_id, now));
}

void turn_tracker::posted(std::string_view message_id, time_point now, bool once) {
    state_->take(state_->tracker.posted(message_id, now, once));
}

void turn_tracker::close(std::string_view message_id, outcome o, rule r,
                         std::optional<settlement_error> error, reprompt safe, time_point) {
    settlement s;
    s.outcome = o;
    s.rule = r;
    s.error = std::move(error);
    s.safe_to_reprompt = safe;
    state_->take(state_->tracker.close(message_id, std::move(s)));
}

void turn_tracker::abort_requested(time_point now) {
    state_->take(state_->tracker.abort_requested(now));
}

void turn_tracker::abort_accepted() {
    state_->take(state_->tracker.abort_accepted());
}

void turn_tracker::follow() {
    state_->take(state_->tracker.follow());
}

void turn_tracker::attached(time_point) {
    state_->take(state_->tracker.attached());
}

void turn_tracker::interrupted(const retry::failure& why, unsigned next_attempt, duration retry_in,
                               time_point now) {
    state_->take(state_->tracker.interrupted(why, next_attempt, retry_in, now));
}

void turn_tracker::broken_off(const retry::failure& why, time_point now) {
    state_->take(state_->tracker.broken_off(why, now));
}

void turn_tracker::on_event(event e, time_point now) {
    state_->take(state_->tracker.hear(std::move(e), now));
}

turn_tracker::mark turn_tracker::begin_snapshot() const noexcept {
    return {state_->tracker.begin_snapshot()};
}

bool turn_tracker::on_snapshot(snapshot s, mark taken, time_point now) {
    return state_->merge(std::move(s), taken, false, now);
}

bool turn_tracker::on_capture(snapshot s, mark taken, time_point now) {
    return state_->merge(std::move(s), taken, true, now);
}

void turn_tracker::snapshot_failed(const retry::failure&, time_point now) {
    state_->take(state_->tracker.snapshot_failed(now));
}

void turn_tracker::tick(time_point now) {
    state_->take(state_->tracker.tick(now));
}

bool turn_tracker::wants_snapshot() const noexcept {
    return state_->wants_snapshot;
}

std::optional<time_point> turn_tracker::next_deadline() const noexcept {
    return state_->deadline;
}

std::vector<turn_tracker::output> turn_tracker::take_outputs() {
    return as_outputs(std::exchange(state_->outputs, {}));
}

std::vector<std::string> turn_tracker::take_reposts() {
    return std::exchange(state_->reposts, {});
}

bool turn_tracker::take_abort() {
    return std::exchange(state_->abort_due, false);
}

std::vector<std::string> turn_tracker::take_opened() {
    return std::exchange(state_->opened, {});
}

std::vector<turn_tracker::output> turn_tracker::told_so_far() const {
    std::vector<ledger::deliver> all;
    for (auto& a : state_->tracker.told_so_far())
        all.push_back(std::get<ledger::deliver>(std::move(a)));
    return as_outputs(std::move(all));
}

std::size_t turn_tracker::background() const {
    const auto& facts = state_->tracker.facts();
    return facts.is_busy() ? 0 : facts.sessions().at_work();
}

bool turn_tracker::left_turns_out() const noexcept {
    return state_->tracker.facts().left_turns_out();
}

std::optional<unsigned> turn_tracker::depth_of(std::string_view session_id) const {
    return state_->tracker.facts().sessions().depth_of(session_id);
}

bool turn_tracker::has_open_turns() const noexcept {
    return state_->tracker.has_open_turns();
}

bool turn_tracker::is_open(std::string_view message_id) const noexcept {
    return state_->tracker.is_heard(std::string(message_id));
}

bool turn_tracker::owns_session(std::string_view session_id) const noexcept {
    return state_->tracker.facts().sessions().owns(session_id);
}

std::vector<turn_tracker::pending_check> turn_tracker::unsettled() const {
    std::vector<pending_check> all;
    for (auto& check : state_->tracker.unsettled())
        all.push_back({std::move(check.message), std::move(check.why)});
    return all;
}

} // namespace holdfast::opencode
