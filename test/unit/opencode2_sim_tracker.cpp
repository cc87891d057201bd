// What the tracker of 2.x makes of the simulated server's stream and answers is what the server itself knows:
// over many scripts, with the stream broken and the process stopped anywhere.
#include <boost/test/unit_test.hpp>

#include "support/sim2_player.hpp"

#include <holdfast/opencode/json_slices.hpp>
#include <holdfast/opencode/protocol/v2/answers.hpp>
#include <holdfast/opencode/protocol/v2/turn_tracker.hpp>

#include <algorithm>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <variant>
#include <vector>

namespace json = boost::json;
using namespace holdfast;
using namespace holdfast::opencode;
using namespace std::chrono_literals;
using namespace test;

namespace {

constexpr duration patience = 3min; // until what is not settled by then waits for ever

/// A client: a stream, the tracker, and the snapshots that it wants. It comes back a second after each end.
class client {
public:
    explicit client(testing::opencode_sim::options settings) : p(std::move(settings)) {
        p.session = p.create_2();
        tracker_.emplace(p.session, v2::tracker_options());
        connect();
    }

    player_2 p;
    std::map<std::string, settlement> ends;
    std::map<std::string, std::string> said; ///< text by prompt
    bool settled_twice = false;
    std::set<std::string> lost_text; ///< prompts that were told so

    void prompt(const std::string& id, std::string_view text, std::string_view more = {}) {
        take(tracker_->open(id));
        const auto answer = p.post(p.session, text, ",\"id\":\"" + id + "\"" + std::string(more));
        BOOST_TEST_REQUIRE(answer.status == 200);
        hear();
        take(tracker_->posted(id, p.now));
    }
    void interrupt() {
        take(tracker_->abort_requested());
        p.interrupt();
        hear();
        take(tracker_->abort_accepted(p.now));
    }
    /// Lets time pass, as the tracker wants it.
    void pass(duration d) {
        const auto end = p.now + d;
        while (p.now < end) {
            auto next = std::min(end, p.now + (d > 10s ? 500ms : 20ms));
            if (wakes_ && *wakes_ > p.now)
                next = std::min(next, *wakes_);
            p.run_for(next - p.now);
            look_after_the_stream();
            answer_asks();
            take(tracker_->tick(p.now));
        }
    }
    std::string reply = "once"; ///< to permissions; empty: none
    std::string story() { return p.told(); }

private:
    void connect() {
        read_ = 0;
        heard_bytes_ = 0;
        greeted_ = false;
        p.listen();
        hear();
    }

    [[nodiscard]] bool is_over() {
        const auto& wire = p.wires[p.stream];
        return wire.closed || wire.reset || wire.bytes.ends_with("\r\n0\r\n\r\n") ||
               wire.bytes.starts_with("HTTP/1.1 5");
    }

    void look_after_the_stream() {
        hear();
        if (is_over() && !back_at_) {
            if (greeted_)
                take(tracker_->interrupted({}, 1, {}, p.now));
            back_at_ = p.now + 1s;
        }
        // What was sent into the start-up trap is never answered.
        if (!greeted_ && !back_at_ && p.now - asked_at_ > 2s)
            back_at_ = p.now;
        if (back_at_ && *back_at_ <= p.now) {
            back_at_.reset();
            asked_at_ = p.now;
            connect();
        }
    }

    void hear() {
        const auto size = p.wires[p.stream].bytes.size();
        if (std::exchange(heard_bytes_, size) == size)
            return;
        const auto all = p.events(p.stream);
        for (; read_ < all.size(); ++read_) {
            const auto e = v2::read_event(all[read_]);
            BOOST_TEST_REQUIRE(e.has_value(), json::serialize(all[read_]));
            if (std::holds_alternative<v2::greeting>(e->what)) {
                greeted_ = true;
                take(tracker_->attached(p.now));
            } else if (tracker_->owns(e->session) || std::holds_alternative<v2::session_created>(e->what)) {
                take(tracker_->hear(*e, p.now));
            }
        }
    }

    void take(const ledger::actions& all) {
        bool wants = false;
        wakes_.reset();
        for (const auto& each : all) {
            wants = wants || std::holds_alternative<ledger::fetch_snapshot>(each);
            if (const auto* wake = std::get_if<ledger::wake_at>(&each))
                wakes_ = wake->when;
            if (const auto* told = std::get_if<ledger::deliver>(&each))
                deliver(*told);
        }
        if (wants && greeted_ && !looking_ && !is_over())
            look();
    }

    void deliver(const ledger::deliver& told) {
        if (const auto* t = std::get_if<text_event>(&told.event))
            said[told.message] += t->delta;
        if (const auto* g = std::get_if<gap_event>(&told.event); g && g->missing)
            lost_text.insert(told.message);
        if (const auto* s = std::get_if<settlement>(&told.event))
            settled_twice = !ends.emplace(told.message, *s).second || settled_twice;
    }

    void look() {
        looking_ = true;
        const auto begun = tracker_->begin_snapshot();
        const auto begun_at = p.now;
        v2::snapshot s;
        const auto first = p.call("GET", p.path(p.session));
        looking_ = false;
        if (first.status == 503)
            return;
        s.inbox = v2::parse_inbox(p.get(p.path(p.session, "/inbox"))).value();
        s.rows = v2::parse_messages(p.get(p.path(p.session, "/message?order=asc"))).value().rows;
        s.active = v2::parse_active(p.get("/api/session/active")).value().contains(p.session);
        s.permissions = v2::parse_permissions(p.get(p.path(p.session, "/permission"))).value();
        s.forms = v2::parse_forms(p.get(p.path(p.session, "/form"))).value();
        take(tracker_->merge(s, begun, begun_at, p.now));
    }

    void answer_asks() {
        if (reply.empty() || !p.sim.listening())
            return;
        for (const auto form : {false, true}) {
            const auto answer = p.start_call("GET", form ? "/api/form" : "/api/permission/request");
            const auto got = take_response(p.wires[answer]);
            p.sim.closed(answer, p.now);
            if (!got || got->status != 200)
                continue;
            const auto all = got->parsed();
            for (const auto& a : all.at("data").as_array()) {
                const auto at =
                    p.path(text(a.at("sessionID")), form ? "/form/" : "/permission/") + text(a.at("id"));
                if (form && reply == "reject")
                    p.call("DELETE", at);
                else if (form)
                    p.call("POST", at + "/reply", R"({"answer":{}})");
                else
                    p.call("POST", at + "/reply", R"({"decision":")" + reply + "\"}");
                break;
            }
        }
    }

    std::optional<v2::turn_tracker> tracker_;
    std::size_t read_ = 0; ///< events of this stream
    std::size_t heard_bytes_ = 0;
    bool greeted_ = false;
    bool looking_ = false;
    time_point asked_at_{};
    std::optional<time_point> back_at_;
    std::optional<time_point> wakes_;
};

/// What the server's own word means for a client. Empty: it is not settled. `stored`: what REST has of the
/// step; what a SIGTERM ends between two steps is stored nowhere.
std::string expected(const opencode_sim::turn_truth& t, const std::string& stored) {
    using truth = opencode_sim::outcome;
    switch (t.outcome) {
    case truth::pending: return "";
    case truth::completed: return "completed";
    case truth::failed: return "failed";
    case truth::aborted:
        return stored.find("assistant:error") == stored.npos && stored.find("interrupted") == stored.npos
                   ? "lost"
                   : "aborted";
    case truth::rejected: return "rejected";
    case truth::unanswered:
    case truth::interrupted: break;
    }
    return "lost";
}

/// Where REST alone tells less than the server knows, or another thing as well as that.
bool is_right_too(const std::string& got, const opencode_sim::turn_truth& t, const std::string& stored) {
    const bool was_resumed = stored.find("synthetic") != stored.npos;
    const bool broke_off = t.said == "partial ";
    return (got == "failed" && broke_off) // it died before it asked for the rest
           || (got == "completed" && was_resumed && t.outcome == opencode_sim::outcome::rejected)
           // Taken up together with a prompt that waited: it looks as though that one had come later.
           || (got == "lost" && was_resumed && !t.merged_into.empty());
}

enum class trouble { none, cut, drop, kill, terminate, interrupt, second, queued, count };

constexpr const char* tags[] = {"#plain",    "#slow:30",  "#reason",       "#tool",        "#ask:200",
                                "#question", "#task",     "#task:slow:20", "#error",       "#e500once",
                                "#garbage",  "#cutonce",  "#overflow",     "#overflow-ok", "#filter",
                                "#empty",    "#two-asks", "#background",   "#length",      "#silent:3000"};

std::string describe(std::uint64_t seed, const char* tag, trouble what, milliseconds when, bool service,
                     const std::string& reply) {
    static constexpr const char* names[] = {"none",      "cut",       "drop",   "kill",
                                            "terminate", "interrupt", "second", "queued"};
    return "seed " + std::to_string(seed) + ": " + tag + ", " + names[static_cast<int>(what)] + " at " +
           std::to_string(when.count()) + " ms" + (service ? ", a service" : "") +
           (reply.empty() ? "" : ", replies " + reply);
}

void befall(client& c, trouble what) {
    auto& p = c.p;
    switch (what) {
    case trouble::cut: p.sim.cut_streams(p.now); break;
    case trouble::drop: p.sim.end_streams(p.now); break;
    case trouble::kill: p.sim.restart(p.now); break;
    case trouble::terminate: p.sim.restart(p.now, opencode_sim::stop::terminate); break;
    case trouble::interrupt: c.interrupt(); break;
    case trouble::second: c.prompt("msg_2", "#plain"); break;
    case trouble::queued: c.prompt("msg_2", "#tool", ",\"delivery\":\"queue\""); break;
    default: break;
    }
    p.pump();
}

/// One turn, two troubles; then everything as the server says. Counts the ends by their names.
void run(std::uint64_t seed, std::map<std::string, int>& seen) {
    std::mt19937_64 chance(seed);
    const auto draw = [&](std::uint64_t below) {
        return chance() % below;
    };
    auto settings = opencode_sim::options_from(seed);
    if (draw(4) != 0)
        settings.cold_start = {};
    settings.startup_hang = milliseconds(draw(900));
    settings.starting = milliseconds(draw(500));
    settings.service = draw(2) == 0;
    settings.late_terminal = draw(2) == 0 ? 1 : 0;
    const char* tag = tags[draw(std::size(tags))];
    const auto what = static_cast<trouble>(draw(static_cast<std::uint64_t>(trouble::count)));
    const milliseconds when(draw(2) == 0 ? draw(300) : draw(2500));
    client c(settings);
    c.reply = draw(4) == 0 ? "reject" : "once";
    const auto then = static_cast<trouble>(1 + draw(4));
    const bool twice = draw(3) == 0;
    const auto context = describe(seed, tag, what, when, settings.service, c.reply);
    BOOST_TEST_CONTEXT(context) {
        c.prompt("msg_1", tag);
        c.pass(when);
        befall(c, what);
        c.pass(milliseconds(draw(400)));
        if (twice)
            befall(c, then);
        c.pass(patience);
        const auto stored = c.p.row_words();
        for (const auto& t : c.p.sim.truth()) {
            if (t.child)
                continue;
            const auto found = c.ends.find(t.message);
            const std::string got(found == c.ends.end() ? "" : to_string(found->second.outcome));
            ++seen[got];
            BOOST_TEST((got == expected(t, stored) || is_right_too(got, t, stored)),
                       t.message << " is " << got << ", and the server says " << to_string(t.outcome) << ": "
                                 << stored);
        }
        BOOST_TEST(!c.settled_twice);
    }
}

} // namespace

BOOST_AUTO_TEST_CASE(what_the_tracker_says_of_a_turn_is_what_the_server_knows) {
    std::map<std::string, int> seen;
    for (std::uint64_t seed = 1; seed <= 300; ++seed)
        run(seed, seen);
    for (const auto* end : {"completed", "failed", "aborted", "rejected", "lost", ""})
        BOOST_TEST(seen[end] > 1, "no turn was " << (*end == 0 ? "parked" : end));
}
