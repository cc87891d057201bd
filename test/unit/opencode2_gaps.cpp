// Every recording of 2.x, its stream broken at every event: nothing is lost, repeated or settled otherwise.
#include <boost/test/unit_test.hpp>

#include "support/recordings.hpp"
#include "support/rest_of_2.hpp"

#include <holdfast/opencode/protocol/v2/turn_tracker.hpp>

#include <map>
#include <ostream>
#include <set>
#include <string>
#include <vector>

using namespace holdfast;
using namespace holdfast::opencode;

namespace {

struct story {
    std::string root;
    std::vector<v2::event> events;
    std::set<std::string> prompts; ///< of the root session
};

story read(const std::filesystem::path& path) {
    story s;
    for (const auto& data : test::recorded_data(path)) {
        auto e = v2::parse_event(data);
        if (!e || e->session.empty())
            continue;
        const auto* admitted = std::get_if<v2::input_admitted>(&e->what);
        if (admitted && admitted->kind == v2::input_kind::prompt &&
            (s.root.empty() || s.root == e->session)) {
            s.root = e->session;
            s.prompts.insert(admitted->id);
        }
        s.events.push_back(std::move(*e));
    }
    return s;
}

struct breakage {
    std::size_t at = 0;     ///< events before it
    std::size_t missed = 0; ///< events that nobody hears
    std::size_t early = 0;  ///< events behind the greeting that the snapshot already knows
};

std::ostream& operator<<(std::ostream& out, const breakage& b) {
    return out << "broken at " << b.at << ", " << b.missed << " missed, " << b.early << " early";
}

struct ending {
    std::map<std::string, std::string> outcomes; ///< by prompt
    std::map<std::string, std::string> told;     ///< by part
    bool lost_text = false;
    bool settled_twice = false;

    friend bool operator==(const ending&, const ending&) = default;
};

class player {
public:
    player(const story& s, bool tells_outcome)
        : story_(s), rest_(s.root, tells_outcome), tracker_(s.root, {}) {
        take(tracker_.attached(now_));
    }

    ending play(const breakage* b) {
        for (std::size_t i = 0; i < story_.events.size(); ++i) {
            if (b && i == b->at)
                take(tracker_.interrupted({}, 1, {}, now_));
            if (b && i == b->at + b->missed)
                greet(i, b->early);
            happen(story_.events[i]);
            now_ += milliseconds(10);
            if (!b || i < b->at || i >= b->at + b->missed)
                take(tracker_.hear(story_.events[i], now_));
        }
        if (b && b->at + b->missed >= story_.events.size())
            greet(story_.events.size(), 0);
        settle_down();
        return end_;
    }

private:
    /// The snapshot is taken a few events behind the greeting; these come before it is merged, or after it.
    void greet(std::size_t next, std::size_t early) {
        take(tracker_.attached(now_));
        const auto begun = tracker_.begin_snapshot();
        auto later = rest_;
        for (auto i = next; i < std::min(next + early, story_.events.size()); ++i) {
            post(story_.events[i]);
            later.apply(story_.events[i]);
        }
        take(tracker_.merge(later.now(), begun, now_, now_));
    }

    // The owner's POST comes before its event; the server knows what nobody hears.
    void happen(const v2::event& e) {
        post(e);
        rest_.apply(e);
    }
    void post(const v2::event& e) {
        const auto* admitted = std::get_if<v2::input_admitted>(&e.what);
        if (!admitted || !story_.prompts.contains(admitted->id) || !posted_.insert(admitted->id).second)
            return;
        take(tracker_.open(admitted->id));
        take(tracker_.posted(admitted->id, now_));
    }

    void settle_down() {
        for (int n = 0; n < 20; ++n) {
            now_ += seconds(1);
            take(tracker_.tick(now_));
            if (wants_)
                take(tracker_.merge(rest_.now(), tracker_.begin_snapshot(), now_, now_));
        }
    }

    void take(const ledger::actions& all) {
        wants_ = false;
        for (const auto& each : all) {
            wants_ = wants_ || std::holds_alternative<ledger::fetch_snapshot>(each);
            const auto* told = std::get_if<ledger::deliver>(&each);
            if (!told)
                continue;
            if (const auto* t = std::get_if<text_event>(&told->event))
                end_.told[t->part] += t->delta;
            if (const auto* t = std::get_if<reasoning_event>(&told->event))
                end_.told[t->part] += t->delta;
            if (const auto* g = std::get_if<gap_event>(&told->event))
                end_.lost_text = end_.lost_text || g->missing;
            if (const auto* s = std::get_if<settlement>(&told->event))
                end_.settled_twice =
                    !end_.outcomes.emplace(told->message, to_string(s->outcome)).second || end_.settled_twice;
        }
    }

    const story& story_;
    test::rest_of_2 rest_;
    v2::turn_tracker tracker_;
    time_point now_{};
    ending end_;
    std::set<std::string> posted_;
    bool wants_ = false;
};

/// What REST of a server without rows of type "idle" cannot tell, once the terminal was missed.
const std::set<std::string> not_told_by_rest = {
    "54-model-500-retrying-then-interrupt", // the message stays open for ever
    "66-unknown-model",                     // no message
    "67-unknown-provider",
};

/// At each event, but for most deltas of a long text.
std::vector<breakage> breakages(const story& s) {
    const auto events = s.events.size();
    std::vector<breakage> all;
    for (std::size_t at = 0; at <= events; ++at) {
        const bool is_delta = at < events && std::holds_alternative<v2::part_delta>(s.events[at].what);
        if (is_delta && at % 5 != 0)
            continue;
        for (const std::size_t missed : {0u, 1u, 3u, 10u, 1000u})
            for (const std::size_t early : {0u, 2u, 12u})
                if (at + missed <= events || (missed == 1000u && early == 0u))
                    all.push_back({at, missed, early});
    }
    return all;
}

std::string text(const ending& e) {
    std::string all;
    for (const auto& [id, how] : e.outcomes)
        all += id.substr(id.size() - 5) + ' ' + how + "; ";
    for (const auto& [part, said] : e.told)
        all += part.substr(part.size() - 12) + ' ' + std::to_string(said.size()) + "; ";
    return all + (e.lost_text ? "lost text" : "");
}

void check(bool tells_outcome) {
    std::size_t runs = 0;
    for (const auto& path : test::recordings_of_2()) {
        const auto s = read(path);
        const auto name = path.stem().string();
        // Its beginning or its end is not there; of a session that was deleted REST tells nothing.
        if (s.root.empty() || s.events.front().seq.value_or(1) != 0 || name.ends_with("-before"))
            continue;
        if (name.starts_with("80-delete") || (!tells_outcome && not_told_by_rest.contains(name)))
            continue;
        const auto whole = player(s, tells_outcome).play(nullptr);
        for (const auto& b : breakages(s)) {
            const auto broken = player(s, tells_outcome).play(&b);
            ++runs;
            if (broken == whole)
                continue;
            BOOST_ERROR(name << ", " << b << ":\n  " << text(broken) << "\n  " << text(whole));
            break; // one of each says enough
        }
    }
    BOOST_TEST(runs > 5'000u);
}

} // namespace

BOOST_AUTO_TEST_CASE(a_broken_stream_is_repaired_by_a_server_that_tells_outcomes) {
    check(true);
}

BOOST_AUTO_TEST_CASE(a_broken_stream_is_repaired_by_a_server_that_does_not) {
    check(false);
}
