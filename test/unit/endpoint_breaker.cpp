#include <boost/test/unit_test.hpp>

#include <holdfast/retry/endpoint_breaker.hpp>
#include <holdfast/retry/policy.hpp>

#include <algorithm>
#include <functional>
#include <map>
#include <random>
#include <vector>

using namespace holdfast;
using namespace holdfast::retry;
using kind = endpoint_breaker::kind;
using verdict = endpoint_breaker::answer::verdict;

namespace {

const time_point t0{seconds(1000)};
const failure refused = make_failure(errc::refused);
const failure cut = make_failure(errc::cut, {}, true);
const failure early_end = make_failure(errc::early_end, {}, true);

/// A breaker that one attempt of a stream, refused at t0, has opened.
struct open_breaker {
    endpoint_breaker g;
    open_breaker() { fail(refused); }

    void fail(const failure& f, time_point now = t0) {
        const auto t = pass(kind::stream, now);
        g.failed(t, f, now);
    }

    /// Enters, due now, and must go.
    endpoint_breaker::ticket pass(kind who, time_point now = t0) {
        const auto t = g.enter(who, now, false);
        BOOST_TEST_REQUIRE((g.ask(t, now).kind == verdict::go));
        return t;
    }

    verdict ask(endpoint_breaker::ticket t, time_point now = t0) { return g.ask(t, now).kind; }
};

} // namespace

BOOST_AUTO_TEST_CASE(a_closed_breaker_lets_everyone_pass_at_their_own_time) {
    endpoint_breaker g;
    const auto a = g.enter(kind::stream, t0, false);
    const auto b = g.enter(kind::stream, t0, false);
    const auto later_one = g.enter(kind::stream, t0 + seconds(1), false);
    BOOST_TEST((g.ask(a, t0).kind == verdict::go));
    BOOST_TEST((g.ask(b, t0).kind == verdict::go));
    const auto wait = g.ask(later_one, t0);
    BOOST_TEST((wait.kind == verdict::wait));
    BOOST_TEST((wait.until == t0 + seconds(1)));
    BOOST_TEST((g.ask(later_one, t0 + seconds(1)).kind == verdict::go));
    BOOST_TEST(!g.is_open());
}

BOOST_AUTO_TEST_CASE(a_held_stream_keeps_its_due_time_while_nothing_happens) {
    endpoint_breaker g;
    const auto t = g.enter(kind::stream, t0 + seconds(1), true);
    BOOST_TEST((g.ask(t, t0 + milliseconds(999)).kind == verdict::wait));
    BOOST_TEST((g.ask(t, t0 + seconds(1)).kind == verdict::go));
}

BOOST_FIXTURE_TEST_CASE(an_endpoint_failure_opens_the_breaker, open_breaker) {
    BOOST_TEST(g.is_open());
    BOOST_TEST((g.since() == t0));
    fail(make_failure(errc::unreachable), t0 + seconds(1));
    BOOST_TEST((g.since() == t0));
    BOOST_TEST((g.last_failure() == make_failure(errc::unreachable)));
}

BOOST_FIXTURE_TEST_CASE(an_open_breaker_lets_one_probe_through, open_breaker) {
    pass(kind::stream);
    BOOST_TEST(g.probing());
    const auto other = g.enter(kind::stream, t0, false);
    const auto call = g.enter(kind::call, t0, false);
    BOOST_TEST((g.ask(other, t0).until == time_point::max()));
    BOOST_TEST((ask(other) == verdict::wait));
    BOOST_TEST((ask(call) == verdict::wait));
}

BOOST_FIXTURE_TEST_CASE(asking_for_an_attempt_under_way_says_go_again, open_breaker) {
    const auto probe = pass(kind::stream);
    BOOST_TEST((ask(probe) == verdict::go));
}

BOOST_FIXTURE_TEST_CASE(those_who_are_held_or_due_share_the_failure_of_a_streams_probe, open_breaker) {
    const auto held = g.enter(kind::stream, t0 + seconds(30), true);
    const auto due = g.enter(kind::stream, t0 + seconds(1), false);
    const auto probe = pass(kind::stream);
    const auto call = g.enter(kind::call, t0 + seconds(1), false);
    const auto not_yet = g.enter(kind::stream, t0 + seconds(2), false);
    const auto now = t0 + seconds(1);
    const auto unreachable = make_failure(errc::unreachable);
    g.failed(probe, unreachable, now);
    for (const auto t : {held, due, call}) {
        const auto answer = g.ask(t, now);
        BOOST_TEST((answer.kind == verdict::shared_failure));
        BOOST_TEST((answer.result == unreachable));
    }
    BOOST_TEST((ask(not_yet, now) == verdict::wait));
    BOOST_TEST(g.waiting() == 1u);
}

BOOST_FIXTURE_TEST_CASE(a_shared_failure_ends_its_ticket, open_breaker) {
    const auto held = g.enter(kind::stream, t0, true);
    const auto probe = pass(kind::stream);
    g.failed(probe, refused, t0);
    BOOST_TEST((ask(held) == verdict::shared_failure));
    BOOST_CHECK_THROW((void)g.ask(held, t0), std::out_of_range);
}

BOOST_FIXTURE_TEST_CASE(a_calls_failed_probe_is_shared_with_calls_alone, open_breaker) {
    const auto held = g.enter(kind::stream, t0 + seconds(1), true);
    const auto probe = pass(kind::call);
    const auto call = g.enter(kind::call, t0, false);
    g.failed(probe, refused, t0 + seconds(2));
    BOOST_TEST((ask(call, t0 + seconds(2)) == verdict::shared_failure));
    BOOST_TEST((ask(held, t0 + seconds(2)) == verdict::go));
}

BOOST_FIXTURE_TEST_CASE(a_call_lets_a_stream_that_is_due_probe_first, open_breaker) {
    const auto stream = g.enter(kind::stream, t0 + seconds(1), true);
    const auto call = g.enter(kind::call, t0 + seconds(1), false);
    BOOST_TEST((ask(call, t0 + seconds(1)) == verdict::wait));
    BOOST_TEST((ask(stream, t0 + seconds(1)) == verdict::go));
}

BOOST_FIXTURE_TEST_CASE(a_call_that_yields_is_asked_again_when_the_stream_leaves, open_breaker) {
    const auto stream = g.enter(kind::stream, t0, true);
    const auto call = g.enter(kind::call, t0, false);
    BOOST_TEST((ask(call) == verdict::wait));
    const auto before = g.version();
    g.leave(stream);
    BOOST_TEST(g.version() != before);
    BOOST_TEST((ask(call) == verdict::go));
}

BOOST_AUTO_TEST_CASE(a_call_does_not_yield_to_a_stream_that_will_not_probe) {
    endpoint_breaker other;
    const auto under_way = other.enter(kind::stream, t0, false);
    const auto first = other.enter(kind::stream, t0, false);
    BOOST_TEST((other.ask(under_way, t0).kind == verdict::go));
    BOOST_TEST((other.ask(first, t0).kind == verdict::go));
    other.failed(first, refused, t0);
    const auto probe = other.enter(kind::stream, t0, false);
    BOOST_TEST((other.ask(probe, t0).kind == verdict::go));
    const auto about_to_receive = other.enter(kind::stream, t0, true);
    other.failed(probe, refused, t0);
    const auto call = other.enter(kind::call, t0, false);
    BOOST_TEST((other.ask(call, t0).kind == verdict::go));
    BOOST_TEST((other.ask(about_to_receive, t0).kind == verdict::shared_failure));
}

BOOST_AUTO_TEST_CASE(a_second_failed_probe_takes_the_place_of_one_not_yet_handed_out) {
    open_breaker s;
    const auto held = s.g.enter(kind::stream, t0 + seconds(1), true);
    s.fail(refused);
    s.fail(make_failure(errc::unreachable));
    BOOST_TEST((s.g.ask(held, t0).result == make_failure(errc::unreachable)));
    BOOST_TEST(s.g.waiting() == 0u);
}

BOOST_AUTO_TEST_CASE(attempts_under_way_when_the_breaker_opens_share_nothing) {
    endpoint_breaker g;
    std::vector<endpoint_breaker::ticket> under_way;
    for (int i = 0; i < 3; ++i) {
        under_way.push_back(g.enter(kind::stream, t0, false));
        BOOST_TEST((g.ask(under_way.back(), t0).kind == verdict::go));
    }
    g.failed(under_way[0], refused, t0);
    const auto held = g.enter(kind::stream, t0 + seconds(1), true);
    const auto probe = g.enter(kind::stream, t0, false);
    BOOST_TEST((g.ask(probe, t0).kind == verdict::go));
    g.failed(under_way[1], refused, t0);
    g.failed(under_way[2], refused, t0);
    BOOST_TEST((g.ask(held, t0).kind == verdict::wait));
    BOOST_TEST(g.probing());
}

BOOST_AUTO_TEST_CASE(attempts_under_way_receive_no_shared_failure) {
    endpoint_breaker g;
    const auto under_way = g.enter(kind::stream, t0, false);
    const auto first = g.enter(kind::stream, t0, false);
    BOOST_TEST((g.ask(under_way, t0).kind == verdict::go));
    BOOST_TEST((g.ask(first, t0).kind == verdict::go));
    g.failed(first, refused, t0);
    const auto probe = g.enter(kind::stream, t0, false);
    BOOST_TEST((g.ask(probe, t0).kind == verdict::go));
    g.failed(probe, refused, t0);
    BOOST_TEST((g.ask(under_way, t0).kind == verdict::go));
}

BOOST_FIXTURE_TEST_CASE(a_success_closes_the_breaker_and_lets_the_held_go_at_once, open_breaker) {
    const auto held = g.enter(kind::stream, t0 + seconds(30), true);
    const auto own_trouble = g.enter(kind::stream, t0 + seconds(30), false);
    const auto probe = pass(kind::call);
    const auto before = g.version();
    g.succeeded(probe, t0);
    BOOST_TEST(!g.is_open());
    BOOST_TEST(!g.probing());
    BOOST_TEST(g.version() != before);
    BOOST_TEST((ask(held) == verdict::go));
    BOOST_TEST((ask(own_trouble) == verdict::wait));
}

BOOST_FIXTURE_TEST_CASE(a_failure_that_shows_the_endpoint_alive_closes_the_breaker, open_breaker) {
    const auto held = g.enter(kind::stream, t0 + seconds(30), true);
    fail(early_end);
    BOOST_TEST(!g.is_open());
    BOOST_TEST((ask(held) == verdict::go));
}

BOOST_AUTO_TEST_CASE(a_success_of_an_older_attempt_closes_the_breaker_too) {
    endpoint_breaker other;
    const auto older = other.enter(kind::stream, t0, false);
    const auto first = other.enter(kind::stream, t0, false);
    BOOST_TEST((other.ask(older, t0).kind == verdict::go));
    BOOST_TEST((other.ask(first, t0).kind == verdict::go));
    other.failed(first, refused, t0);
    other.succeeded(older, t0);
    BOOST_TEST(!other.is_open());
}

BOOST_FIXTURE_TEST_CASE(a_probe_of_a_breaker_closed_meanwhile_shares_nothing, open_breaker) {
    const auto probe = pass(kind::stream);
    g.wake(t0);
    const auto held = g.enter(kind::stream, t0 + seconds(1), true);
    g.failed(probe, refused, t0);
    BOOST_TEST(g.is_open());
    BOOST_TEST((ask(held) == verdict::wait));
}

BOOST_FIXTURE_TEST_CASE(a_cut_leaves_the_breaker_open_and_frees_the_probe, open_breaker) {
    const auto probe = pass(kind::stream);
    const auto next = g.enter(kind::stream, t0, true);
    const auto before = g.version();
    g.failed(probe, cut, t0);
    BOOST_TEST(g.is_open());
    BOOST_TEST(g.version() != before);
    BOOST_TEST((ask(next) == verdict::go));
}

BOOST_AUTO_TEST_CASE(failures_of_one_stream_alone_leave_a_closed_breaker_closed) {
    for (const errc code :
         {errc::cut, errc::early_end, errc::stalled, errc::malformed, errc::local, errc::bad_status}) {
        endpoint_breaker g;
        const auto t = g.enter(kind::stream, t0, false);
        BOOST_TEST((g.ask(t, t0).kind == verdict::go));
        g.failed(t, make_failure(code), t0);
        BOOST_TEST(!g.is_open());
    }
}

BOOST_FIXTURE_TEST_CASE(a_probe_that_leaves_lets_another_probe, open_breaker) {
    const auto probe = pass(kind::stream);
    const auto next = g.enter(kind::stream, t0, true);
    const auto before = g.version();
    g.leave(probe);
    g.leave(probe);
    BOOST_TEST(g.version() == before + 1);
    BOOST_TEST((ask(next) == verdict::go));
}

BOOST_FIXTURE_TEST_CASE(reports_for_a_ticket_that_has_ended_change_nothing, open_breaker) {
    const auto t = pass(kind::stream);
    g.leave(t);
    const auto before = g.version();
    g.succeeded(t, t0);
    BOOST_TEST(g.is_open());
    g.failed(t, early_end, t0);
    BOOST_TEST(g.is_open());
    BOOST_TEST(g.version() == before);
}

BOOST_FIXTURE_TEST_CASE(wake_lets_everyone_go_at_once_whatever_their_schedule, open_breaker) {
    pass(kind::stream);
    const auto held = g.enter(kind::stream, t0 + seconds(30), true);
    const auto own_trouble = g.enter(kind::stream, t0 + seconds(30), false);
    const auto before = g.version();
    g.wake(t0);
    BOOST_TEST(g.version() != before);
    BOOST_TEST(!g.is_open());
    BOOST_TEST((ask(held) == verdict::go));
    BOOST_TEST((ask(own_trouble) == verdict::go));
}

BOOST_FIXTURE_TEST_CASE(wake_takes_back_a_failure_not_yet_handed_out, open_breaker) {
    const auto held = g.enter(kind::stream, t0 + seconds(30), true);
    const auto probe = pass(kind::stream);
    g.failed(probe, refused, t0);
    g.wake(t0);
    BOOST_TEST((ask(held) == verdict::go));
}

BOOST_AUTO_TEST_CASE(those_whose_attempt_is_under_way_do_not_count_as_waiting) {
    endpoint_breaker g;
    const auto t = g.enter(kind::stream, t0, false);
    BOOST_TEST(g.waiting() == 1u);
    BOOST_TEST((g.ask(t, t0).kind == verdict::go));
    BOOST_TEST(g.waiting() == 0u);
}

// Many streams and calls on one breaker in virtual time, asked as the contract says: when their time comes
// and whenever the version has changed, in random order. What the breaker may do is checked against a second,
// simpler account of it.
namespace {

class crowd {
public:
    struct member {
        endpoint_breaker::kind who;
        schedule plan;
        std::optional<endpoint_breaker::ticket> ticket{};
        bool attempting = false;
        time_point due{};
        bool held = false;
        time_point ask_at = t0;    ///< when the last answer said to ask again
        time_point ends_at{};      ///< of the attempt under way
        std::optional<int> owed{}; ///< the probe whose failure must be handed to this member
        unsigned failures = 0;
        std::vector<duration> delays{};
        std::optional<time_point> gave_up{};
    };

    explicit crowd(std::uint64_t seed) : random_(seed) {}

    endpoint_breaker g;
    time_point now = t0;
    std::vector<member> members;
    /// The outcome of an attempt that ends now: nothing is success.
    std::function<std::optional<failure>()> outcome = [] {
        return refused;
    };
    std::function<duration()> latency = [] {
        return duration::zero();
    };
    unsigned attempts = 0;

    std::uint64_t draw() { return random_(); }

    void join(endpoint_breaker::kind who, const policy& p) {
        members.push_back({who, schedule(p)});
        enter(members.back(), now, false);
    }

    /// Plays on until nobody waits or attempts, or `until`.
    void run(time_point until) {
        for (;;) {
            settle();
            const time_point next = next_event();
            if (idle() || next > until)
                break;
            BOOST_TEST_REQUIRE((next > now));
            now = next;
            finish_attempts();
        }
        now = until == time_point::max() ? now : until;
    }

    [[nodiscard]] bool idle() const {
        return std::none_of(members.begin(), members.end(),
                            [](const member& m) { return m.ticket.has_value(); });
    }

    void cancel(std::size_t which) {
        member& m = members[which];
        if (!m.ticket)
            return;
        g.leave(*m.ticket);
        if (probe_ == m.ticket)
            probe_.reset();
        m.ticket.reset();
        m.owed.reset();
    }

    void wake() {
        g.wake(now);
        clear(true);
    }

private:
    void enter(member& m, time_point due, bool held) {
        m.due = due;
        m.held = held;
        m.attempting = false;
        m.ask_at = now;
        m.ticket = g.enter(m.who, due, held);
    }

    std::vector<member*> in_random_order(const std::function<bool(const member&)>& which) {
        std::vector<member*> chosen;
        for (member& m : members) {
            if (m.ticket && which(m))
                chosen.push_back(&m);
        }
        std::shuffle(chosen.begin(), chosen.end(), random_);
        return chosen;
    }

    /// Asks until no answer changes at this moment.
    void settle() {
        std::uint64_t seen = 0;
        bool moved = true;
        while (moved || seen != g.version()) {
            const bool all = seen != g.version();
            seen = g.version();
            moved = false;
            for (member* m : in_random_order(
                     [&](const member& each) { return !each.attempting && (all || each.ask_at <= now); }))
                moved = ask(*m) || moved;
            finish_attempts();
        }
        for (const member& m : members)
            BOOST_TEST_REQUIRE(!m.owed);
        BOOST_TEST_REQUIRE(g.is_open() == open_);
        BOOST_TEST_REQUIRE(g.probing() == probe_.has_value());
    }

    bool ask(member& m) {
        const auto answer = g.ask(*m.ticket, now);
        switch (answer.kind) {
        case verdict::wait:
            BOOST_TEST_REQUIRE(!m.owed);
            BOOST_TEST_REQUIRE((answer.until > now));
            m.ask_at = answer.until;
            return false;
        case verdict::shared_failure:
            BOOST_TEST_REQUIRE(m.owed.has_value());
            BOOST_TEST_REQUIRE(answer.result->message == std::to_string(*m.owed));
            m.owed.reset();
            lost(m, *answer.result);
            return true;
        case verdict::go: break;
        }
        BOOST_TEST_REQUIRE(!m.owed);
        BOOST_TEST_REQUIRE((m.due <= now));
        if (open_) {
            BOOST_TEST_REQUIRE(!probe_);
            probe_ = m.ticket;
        }
        ++attempts;
        m.attempting = true;
        m.ends_at = now + latency();
        return true;
    }

    time_point next_event() const {
        time_point next = time_point::max();
        bool anyone = false;
        for (const member& m : members) {
            if (!m.ticket)
                continue;
            anyone = true;
            next = std::min(next, m.attempting ? m.ends_at : m.ask_at);
        }
        // Someone who waits with no time to come and no attempt under way would wait for ever.
        BOOST_TEST_REQUIRE((!anyone || next != time_point::max()));
        return next;
    }

    void finish_attempts() {
        for (member* m :
             in_random_order([&](const member& each) { return each.attempting && each.ends_at <= now; }))
            finish(*m, outcome());
    }

    void finish(member& m, std::optional<failure> f) {
        const auto ticket = *m.ticket;
        m.ticket.reset();
        m.attempting = false;
        const bool was_probe = probe_ == ticket;
        if (was_probe)
            probe_.reset();
        if (!f) {
            g.succeeded(ticket, now);
            clear(false);
            return;
        }
        f->message = std::to_string(++failed_);
        g.failed(ticket, *f, now);
        if (shows_endpoint_alive(*f))
            clear(false);
        if (blames_endpoint(*f)) {
            open_ = true;
            if (was_probe)
                owe(m.who);
        }
        lost(m, *f);
    }

    void owe(endpoint_breaker::kind prober) {
        for (member& m : members) {
            if (!m.ticket || m.attempting)
                continue;
            if (m.who == kind::call || (prober == kind::stream && (m.held || m.due <= now)))
                m.owed = failed_;
        }
    }

    void clear(bool everyone) {
        if (!everyone && !open_)
            return;
        open_ = false;
        probe_.reset();
        for (member& m : members) {
            m.owed.reset();
            if (everyone || m.held)
                m.due = std::min(m.due, now);
        }
    }

    void lost(member& m, const failure& f) {
        m.ticket.reset();
        ++m.failures;
        if (m.who == kind::call)
            return;
        const auto decision = m.plan.on_end(f, duration::zero(), now, random_());
        if (decision.give_up) {
            m.gave_up = now;
            return;
        }
        m.delays.push_back(decision.delay);
        enter(m, now + decision.delay, blames_endpoint(f));
    }

    std::mt19937_64 random_;
    bool open_ = false;
    std::optional<endpoint_breaker::ticket> probe_;
    int failed_ = 0;
};

const std::vector<duration> session_delays{seconds(1), seconds(2),  seconds(4),
                                           seconds(8), seconds(16), seconds(30)};

} // namespace

BOOST_AUTO_TEST_CASE(a_single_stream_sees_exactly_1_2_4_8_16_30_and_gives_up_at_the_seventh_failure) {
    crowd all(1);
    all.join(kind::stream, session_stream());
    all.run(time_point::max());
    BOOST_TEST((all.members[0].delays == session_delays));
    BOOST_TEST(all.members[0].failures == 7u);
    BOOST_TEST((all.members[0].gave_up == t0 + seconds(61)));
    BOOST_TEST(all.attempts == 7u);
}

BOOST_AUTO_TEST_CASE(streams_that_begin_together_see_the_same_failures_and_give_up_together) {
    for (std::uint64_t seed = 0; seed < 50; ++seed) {
        crowd all(seed);
        const std::size_t streams = 2 + seed;
        for (std::size_t i = 0; i < streams; ++i)
            all.join(kind::stream, session_stream());
        all.latency = [&] {
            return milliseconds(all.draw() % 100);
        };
        all.run(time_point::max());
        for (const auto& m : all.members) {
            BOOST_TEST_REQUIRE((m.delays == session_delays));
            BOOST_TEST_REQUIRE(m.failures == 7u);
            BOOST_TEST_REQUIRE((m.gave_up == all.members[0].gave_up));
        }
        // All at first, then six probes for all of them.
        BOOST_TEST_REQUIRE(all.attempts == streams + 6);
    }
}

BOOST_AUTO_TEST_CASE(calls_to_a_dead_endpoint_do_not_use_up_the_attempts_of_its_stream) {
    crowd all(1);
    all.join(kind::stream, session_stream());
    for (int i = 0; i < 600; ++i) {
        all.run(t0 + milliseconds(100 * i));
        all.join(kind::call, {});
    }
    all.run(time_point::max());
    BOOST_TEST((all.members[0].delays == session_delays));
    BOOST_TEST((all.members[0].gave_up == t0 + seconds(61)));
}

BOOST_AUTO_TEST_CASE(a_recovered_endpoint_is_had_by_all_as_soon_as_by_one) {
    crowd all(1);
    for (int i = 0; i < 20; ++i)
        all.join(kind::stream, session_stream());
    all.outcome = [&]() -> std::optional<failure> {
        return all.now < t0 + seconds(10) ? std::optional(refused) : std::nullopt;
    };
    all.run(time_point::max());
    BOOST_TEST((all.now == t0 + seconds(15)));
    for (const auto& m : all.members)
        BOOST_TEST(m.failures == 4u);
}

BOOST_AUTO_TEST_CASE(whatever_happens_one_probes_each_rides_once_and_nobody_waits_for_ever) {
    const std::vector<failure> down{refused, make_failure(errc::unreachable),
                                    make_failure(errc::header_timeout, {}, true),
                                    make_status_failure(503, "", seconds(1)), cut};
    const std::vector<failure> up{cut, early_end, make_failure(errc::no_greeting, {}, true),
                                  make_status_failure(500, "", {}), make_failure(errc::local)};
    for (std::uint64_t seed = 0; seed < 400; ++seed) {
        BOOST_TEST_CONTEXT("seed " << seed) {
            crowd all(seed);
            bool dead = false;
            all.latency = [&] {
                return milliseconds(all.draw() % 3 ? all.draw() % 500 : 0);
            };
            all.outcome = [&]() -> std::optional<failure> {
                if (dead)
                    return down[all.draw() % down.size()];
                return all.draw() % 2 ? std::optional(up[all.draw() % up.size()]) : std::nullopt;
            };
            policy p;
            p.max_attempts = unlimited;
            p.jitter = static_cast<jitter>(seed % 3);
            p.max_delay = seconds(4);

            for (int step = 0; step < 60; ++step) {
                switch (all.draw() % 8) {
                case 0: dead = !dead; break;
                case 1: all.join(kind::call, p); break;
                case 2: all.wake(); break;
                case 3:
                    if (!all.members.empty())
                        all.cancel(all.draw() % all.members.size());
                    break;
                default: all.join(kind::stream, p); break;
                }
                all.run(all.now + milliseconds(all.draw() % 2 ? all.draw() % 1500 : 0));
            }
            dead = false;
            all.run(time_point::max());
            BOOST_TEST(all.idle());
        }
    }
}

BOOST_FIXTURE_TEST_CASE(a_ticket_that_succeeded_is_over, open_breaker) {
    const auto t = pass(kind::stream);
    g.succeeded(t, t0);
    BOOST_TEST(!g.is_open());
    g.failed(t, refused, t0);
    BOOST_TEST(!g.is_open());
    const auto call = pass(kind::call); // and of a closed breaker, where it is no probe
    g.succeeded(call, t0);
    g.failed(call, refused, t0);
    BOOST_TEST(!g.is_open());
}
