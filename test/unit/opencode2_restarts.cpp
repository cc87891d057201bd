// Servers of 2.x that were stopped in mid-turn: the stream before, what REST said after the restart, the
// stream after.
#include <boost/test/unit_test.hpp>

#include "support/recordings.hpp"

#include <holdfast/opencode/protocol/v2/answers.hpp>
#include <holdfast/opencode/protocol/v2/turn_tracker.hpp>

#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>

#include <string>
#include <vector>

using namespace holdfast;
using namespace holdfast::opencode;

namespace {

class restarted {
public:
    restarted(const std::string& name, duration quiet) : name_(name) {
        const auto before = events("before");
        root_ = before.front().session;
        tracker_.emplace(root_, v2::tracker_options());
        take(tracker_->attached(now_));
        for (const auto& e : before)
            hear(e);
        take(tracker_->interrupted({}, 1, {}, now_));
        now_ += seconds(3);
        take(tracker_->attached(now_));
        look();
        for (const auto until = now_ + quiet; now_ < until; now_ += seconds(1)) {
            take(tracker_->tick(now_));
            if (wants_)
                look();
        }
        for (const auto& e : events("after"))
            hear(e);
    }

    std::vector<std::string> told;

private:
    [[nodiscard]] std::filesystem::path file(const std::string& end) const {
        return test::data_folder() / "opencode2" / (name_ + '-' + end);
    }
    [[nodiscard]] std::vector<v2::event> events(const std::string& which) const {
        std::vector<v2::event> all;
        for (const auto& data : test::recorded_data(file(which + ".sse")))
            if (auto e = v2::parse_event(data); e && !e->session.empty())
                all.push_back(std::move(*e));
        return all;
    }
    void look() {
        const auto said = boost::json::parse(test::read_file(file("rest.json")));
        v2::snapshot s;
        s.inbox = v2::parse_inbox(said.at("inbox")).value();
        s.rows = v2::parse_messages(said.at("messages")).value().rows;
        s.active = v2::parse_active(said.at("active")).value().contains(root_);
        take(tracker_->merge(s, tracker_->begin_snapshot(), now_, now_));
    }
    void hear(const v2::event& e) {
        const auto* admitted = std::get_if<v2::input_admitted>(&e.what);
        if (admitted && e.session == root_) {
            take(tracker_->open(admitted->id));
            take(tracker_->posted(admitted->id, now_));
        }
        take(tracker_->hear(e, now_));
    }
    void take(const ledger::actions& all) {
        wants_ = false;
        for (const auto& each : all) {
            wants_ = wants_ || std::holds_alternative<ledger::fetch_snapshot>(each);
            const auto* one = std::get_if<ledger::deliver>(&each);
            if (!one)
                continue;
            const auto id = one->message.substr(one->message.size() - 5) + ' ';
            if (const auto* s = std::get_if<settlement>(&one->event))
                told.push_back(id + std::string(to_string(s->outcome)) + ' ' +
                               std::string(to_string(s->rule)));
            if (const auto* g = std::get_if<gap_event>(&one->event))
                told.push_back(id + (g->missing ? "text lost" : "repaired"));
            if (const auto* p = std::get_if<permission_event>(&one->event))
                told.push_back(id + "permission " + p->reply.value_or("waits"));
        }
    }

    std::string name_;
    std::string root_;
    std::optional<v2::turn_tracker> tracker_;
    time_point now_{};
    bool wants_ = false;
};

using lines = std::vector<std::string>;

/// Whether the next prompt comes at once, or when the graces are over.
void check(const std::string& name, const lines& expected) {
    for (const auto quiet : {seconds(0), seconds(20)})
        BOOST_TEST(restarted(name, quiet).told == expected, boost::test_tools::per_element());
}

} // namespace

// WIRE.md, section 7: SIGTERM, service mode.
BOOST_AUTO_TEST_CASE(a_turn_that_a_service_takes_up_by_itself_goes_on_as_the_same_turn) {
    check("97-service-SIGTERM-stream",
          {"Man5z repaired", "Man5z completed superseded", "iu1jI completed message_finished"});
}

// Section 7: SIGTERM, default mode: no terminal reaches the client, and nothing resumes.
BOOST_AUTO_TEST_CASE(a_turn_that_was_stopped_with_its_server_is_aborted) {
    check("99-default-SIGTERM-stream",
          {"nrm4k repaired", "nrm4k aborted session_aborted", "ThLBH completed message_finished"});
}

// Section 7: SIGKILL, with a queued prompt: nobody runs that before the next one has run.
BOOST_AUTO_TEST_CASE(a_turn_that_was_killed_is_lost_with_its_text_and_what_is_queued_still_runs) {
    check("100-default-SIGKILL-queued",
          {"T6m49 repaired", "G1GoD repaired", "T6m49 text lost", "T6m49 lost unfinished",
           "eC9KR completed superseded", "G1GoD completed message_finished"});
}

// Section 7: service mode, a permission open: asked, never answered, and the turn succeeds.
BOOST_AUTO_TEST_CASE(a_permission_that_was_open_at_a_restart_is_withdrawn_and_the_turn_succeeds) {
    check("102-service-SIGTERM-permission",
          {"zK04f permission waits", "zK04f repaired", "zK04f permission withdrawn",
           "zK04f completed message_finished", "GgpTW completed message_finished"});
}
