// ledger::turn_tracker behind the functions of turn_tracker: what is to be done is kept until it is asked
// for.
#pragma once

#include <holdfast/opencode/ledger/turn_tracker.hpp>

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace holdfast::test {

class ledger_tracker {
public:
    using output = opencode::turn_tracker::output;
    using mark = opencode::ledger::position;

    explicit ledger_tracker(const std::string& session, const opencode::tracker_options& options = {})
        : tracker_(std::make_unique<opencode::ledger::turn_tracker>(session, options)) {}

    void open(const std::string& id, time_point now) { take(tracker_->open(id, now)); }
    void posted(std::string_view id, time_point now, bool once = true) {
        take(tracker_->posted(id, now, once));
    }
    void adopt(const std::string& id, time_point now) { take(tracker_->adopt(id, now)); }
    void close(std::string_view id, opencode::outcome o, opencode::rule r,
               std::optional<opencode::settlement_error> error, opencode::reprompt safe, time_point) {
        opencode::settlement s;
        s.outcome = o;
        s.rule = r;
        s.error = std::move(error);
        s.safe_to_reprompt = safe;
        take(tracker_->close(id, std::move(s)));
    }
    void abort_requested(time_point now) { take(tracker_->abort_requested(now)); }
    void abort_accepted() { take(tracker_->abort_accepted()); }
    void follow() { take(tracker_->follow()); }
    void moved() { take(tracker_->moved()); }

    void attached(time_point) { take(tracker_->attached()); }
    void interrupted(const retry::failure& why, unsigned next, duration in, time_point now) {
        take(tracker_->interrupted(why, next, in, now));
    }
    void broken_off(const retry::failure& why, time_point now) { take(tracker_->broken_off(why, now)); }
    void on_event(const opencode::event& e, time_point now) { take(tracker_->hear(e, now)); }
    [[nodiscard]] mark begin_snapshot() const { return tracker_->begin_snapshot(); }
    bool on_snapshot(const opencode::snapshot& s, mark begun, time_point now) {
        return merge(s, begun, false, now);
    }
    bool on_capture(const opencode::snapshot& s, mark begun, time_point now) {
        return merge(s, begun, true, now);
    }
    void snapshot_failed(const retry::failure&, time_point now) { take(tracker_->snapshot_failed(now)); }
    void tick(time_point now) { take(tracker_->tick(now)); }

    [[nodiscard]] bool wants_snapshot() const { return wants_snapshot_; }
    [[nodiscard]] std::optional<time_point> next_deadline() const { return deadline_; }
    [[nodiscard]] std::vector<output> take_outputs() { return std::exchange(outputs_, {}); }
    [[nodiscard]] std::vector<std::string> take_reposts() { return std::exchange(reposts_, {}); }
    [[nodiscard]] std::vector<std::string> take_opened() { return std::exchange(opened_, {}); }
    [[nodiscard]] bool take_abort() { return std::exchange(abort_, false); }

    [[nodiscard]] bool has_open_turns() const { return tracker_->has_open_turns(); }
    [[nodiscard]] bool is_open(const std::string& id) const { return tracker_->is_heard(id); }
    [[nodiscard]] bool owns_session(std::string_view id) const {
        return tracker_->facts().sessions().owns(id);
    }
    [[nodiscard]] std::optional<unsigned> depth_of(std::string_view id) const {
        return tracker_->facts().sessions().depth_of(id);
    }
    [[nodiscard]] auto unsettled() const { return tracker_->unsettled(); }

private:
    bool merge(const opencode::snapshot& s, mark begun, bool by_capture, time_point now) {
        merged_ = true;
        take(tracker_->merge(s, begun, by_capture, now));
        return merged_;
    }

    void take(opencode::ledger::actions all) {
        wants_snapshot_ = false;
        deadline_.reset();
        for (auto& a : all)
            std::visit([&](auto& each) { keep(each); }, a);
    }
    void keep(opencode::ledger::opened& a) { opened_.push_back(std::move(a.message)); }
    void keep(opencode::ledger::deliver& a) {
        outputs_.push_back({std::move(a.message), std::move(a.event)});
    }
    void keep(opencode::ledger::repost& a) { reposts_.push_back(std::move(a.message)); }
    void keep(opencode::ledger::abort_again&) { abort_ = true; }
    void keep(opencode::ledger::fetch_snapshot&) { wants_snapshot_ = true; }
    void keep(opencode::ledger::snapshot_void&) { merged_ = false; }
    void keep(opencode::ledger::wake_at& a) { deadline_ = a.when; }

    std::unique_ptr<opencode::ledger::turn_tracker> tracker_;
    std::vector<output> outputs_;
    std::vector<std::string> reposts_;
    std::vector<std::string> opened_;
    std::optional<time_point> deadline_;
    bool wants_snapshot_ = false;
    bool abort_ = false;
    bool merged_ = true;
};

} // namespace holdfast::test
