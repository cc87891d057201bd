#include "scenario.hpp"

#include <algorithm>

namespace holdfast::sim {
namespace {

using testing::fault;
using testing::memory_network;

constexpr const char* directories[] = {"/one", "/two", "/three"};

// Without an ask: those can be left alone by their owner.
constexpr const char* simple_tags[] = {
    "#plain",     "#slow:5",   "#slow:20",      "#slow:60",   "#reason",      "#tool",     "#write",
    "#todo",      "#task",     "#task:slow:12", "#big:20000", "#silent:8000", "#early",    "#length",
    "#error:400", "#e500once", "#throttle:3",   "#cutonce",   "#garbage",     "#overflow", "#overflow-ok"};
constexpr const char* asking_tags[] = {"#ask", "#ask:500", "#question", "#task:ask", "#task:question"};
constexpr const char* long_tags[] = {"#silent:45000", "#e500", "#errchunk", "#slow:400", "#throttle:40"};

retry::policy draw_policy(dice& d) {
    retry::policy p;
    p.jitter = d.pick(std::initializer_list<retry::jitter>{retry::jitter::none, retry::jitter::equal,
                                                           retry::jitter::equal, retry::jitter::full});
    if (d.percent(30))
        p.base_delay = milliseconds(250);
    if (d.percent(35))
        p.max_attempts = retry::unlimited;
    else if (d.percent(15))
        p.max_attempts = static_cast<unsigned>(d.between(1, 3));
    if (d.percent(20))
        p.max_delay = seconds(8);
    return p;
}

server_plan draw_server(dice& d, std::size_t number) {
    server_plan s;
    s.at = endpoint("http", "127.0.0.1", static_cast<std::uint16_t>(4096 + 100 * number));
    s.model.seed = d.below(1u << 30);
    s.model.pace = d.ms(1, 40);
    s.model.titles = d.percent(70);
    if (d.percent(20))
        s.model.cold_start = d.ms(100, 3000);
    s.model.restart_down = d.ms(0, 3000);
    s.model.startup_hang = d.percent(70) ? d.ms(0, 900) : duration::zero();
    s.model.epoch +=
        seconds(static_cast<std::int64_t>(d.below(7200))) - seconds(3600); // its clock is not ours
    s.policy = draw_policy(d);
    s.global_stream = d.percent(25);
    s.locates = d.percent(60);
    s.says_down = d.percent(30);
    if (d.percent(30))
        s.stall_timeout = d.ms(15'000, 30'000);
    if (d.percent(20))
        s.greeting_timeout = d.ms(2000, 5000);
    if (d.percent(30))
        s.quiet_after = d.ms(5000, 15'000);
    if (d.percent(25))
        s.queue_items = d.between(4, 32);
    return s;
}

prompt_plan draw_prompt(dice& d, bool long_ones) {
    prompt_plan p;
    const bool asks = d.percent(25);
    if (asks)
        p.text = d.pick(asking_tags);
    else if (long_ones && d.percent(12))
        p.text = d.pick(long_tags);
    else
        p.text = d.pick(simple_tags);
    if (d.percent(3))
        p.agent = "nobody";
    else if (d.percent(3))
        p.model = "bad/model";
    else if (d.percent(30))
        p.model = "mock/mock-1";
    if (d.percent(20)) {
        p.reader = reader::slow;
        p.pace = d.ms(5, 400);
    } else if (d.percent(20)) {
        p.reader = reader::impatient;
        p.pace = d.ms(1, 60);
    }
    if (d.percent(20))
        p.abort_after = d.ms(0, d.percent(50) ? 200 : 8000);
    else if (!asks && d.percent(8))
        p.detach_after = d.ms(0, 3000);
    else if (!asks && d.percent(10))
        p.cancel_after = d.ms(0, d.percent(50) ? 80 : 4000);
    p.adopted_afterwards = (p.detach_after || p.cancel_after) && d.percent(60);
    p.reply = d.pick(std::initializer_list<const char*>{"once", "once", "always", "reject"});
    p.reply_after = d.ms(0, d.percent(70) ? 300 : 6000);
    p.reply_twice = d.percent(10);
    return p;
}

void draw_actions(dice& d, scenario& s) {
    const bool long_ones = d.percent(25);
    const auto span = d.percent(60) ? 6000u : 25'000u;
    for (std::size_t i = 0; i < s.sessions.size(); ++i) {
        const auto add = [&](action::kind what) -> action& {
            action a;
            a.what = what;
            a.at = d.ms(0, span);
            a.server = s.sessions[i].server;
            a.session = i;
            s.actions.push_back(std::move(a));
            return s.actions.back();
        };
        const auto prompts = d.between(1, 4);
        for (std::uint64_t n = 0; n < prompts; ++n) {
            auto& a = add(action::kind::prompt);
            a.prompt = draw_prompt(d, long_ones);
            // Often right behind another one of the same session.
            if (n != 0 && d.percent(40))
                a.at = s.actions[s.actions.size() - 2].at + d.ms(0, 150);
        }
        if (d.percent(12))
            add(action::kind::abort_session);
        if (d.percent(10))
            add(action::kind::foreign_prompt).prompt.text = d.pick(simple_tags);
        // What a prompt that comes during a compaction does to it is not known well enough to be held to it.
        const auto prompted = [&](const action& a) {
            return a.session == i &&
                   (a.what == action::kind::prompt || a.what == action::kind::foreign_prompt);
        };
        if (std::count_if(s.actions.begin(), s.actions.end(), prompted) > 1)
            for (auto& a : s.actions)
                if (prompted(a) && a.prompt.text.starts_with("#overflow"))
                    a.prompt.text = "#slow:30";
        if (d.percent(6))
            add(action::kind::foreign_abort);
        if (d.percent(4))
            add(action::kind::foreign_shell);
        if (d.percent(4))
            add(action::kind::delete_session);
        if (d.percent(12))
            add(action::kind::move_session).directory = d.pick(directories);
    }
    for (std::size_t i = 0; i < s.servers.size(); ++i) {
        action a;
        a.server = i;
        a.at = d.ms(0, span + 20'000);
        a.what = action::kind::wake;
        if (d.percent(10))
            s.actions.push_back(a);
        a.what = d.percent(50) ? action::kind::stop : action::kind::cancel_run;
        a.at = d.ms(0, span + 20'000);
        if (d.percent(8))
            s.actions.push_back(a);
    }
    std::stable_sort(s.actions.begin(), s.actions.end(),
                     [](const auto& a, const auto& b) { return a.at < b.at; });
}

fault draw_fault(dice& d) {
    using kind = fault::kind;
    fault f;
    f.what = d.pick(std::initializer_list<kind>{
        kind::cut, kind::cut, kind::reset, kind::stall, kind::mute, kind::garbage, kind::refuse,
        kind::restart, kind::early_end, kind::status, kind::hang, kind::api_status, kind::drop_answer});
    f.after = d.below(d.percent(50) ? 3000 : 30'000);
    f.times = d.between(1, 4);
    f.for_ = d.ms(0, 20'000);
    f.status =
        static_cast<unsigned>(d.pick(std::initializer_list<int>{500, 500, 502, 503, 503, 504, 429, 408}));
    if (f.what == kind::status && d.percent(10))
        f.status = static_cast<unsigned>(d.pick(std::initializer_list<int>{401, 403, 404, 204}));
    return f;
}

trouble draw_trouble(dice& d, const scenario& s, std::uint64_t span) {
    using kind = trouble::kind;
    trouble t;
    t.what = d.pick(std::initializer_list<kind>{kind::inject,
                                                kind::inject,
                                                kind::inject,
                                                kind::inject,
                                                kind::cut_streams,
                                                kind::cut_streams,
                                                kind::stall_streams,
                                                kind::mute,
                                                kind::freeze,
                                                kind::hang,
                                                kind::refuse,
                                                kind::restart,
                                                kind::restart_elsewhere,
                                                kind::kill,
                                                kind::dispose,
                                                kind::unreachable,
                                                kind::connect_hangs,
                                                kind::slow_network,
                                                kind::harm_next,
                                                kind::harm_next,
                                                kind::harm_open});
    t.at = d.ms(0, span);
    t.lasts = d.ms(0, d.percent(75) ? 4000 : 90'000);
    t.server = d.below(s.servers.size());
    t.fault = draw_fault(d);
    using how = memory_network::harm::kind;
    t.harm.what = d.pick(std::initializer_list<how>{how::fin, how::rst, how::stall, how::deaf});
    t.harm.after = d.below(d.percent(50) ? 400 : 12'000);
    t.times = d.between(1, 4);
    t.latency = d.ms(1, d.percent(80) ? 500 : 12'000);
    t.directory = d.pick(directories);
    if (t.what == kind::restart_elsewhere && !s.servers[t.server].locates)
        t.what = kind::restart; // nobody would find it
    return t;
}

void draw_troubles(dice& d, scenario& s) {
    const auto count = d.percent(10) ? 0 : d.percent(60) ? d.between(1, 3) : d.between(3, 9);
    const auto span = d.percent(60) ? 8000u : 45'000u;
    for (std::uint64_t i = 0; i < count; ++i)
        s.troubles.push_back(draw_trouble(d, s, span));
    std::stable_sort(s.troubles.begin(), s.troubles.end(),
                     [](const auto& a, const auto& b) { return a.at < b.at; });
    for (const auto& a : s.actions)
        s.troubles_end = std::max(s.troubles_end, a.at);
    for (const auto& t : s.troubles)
        s.troubles_end = std::max(s.troubles_end, t.at + t.lasts);
    s.troubles_end += seconds(5);
}

// What follows was added later. It is drawn for some seeds only, and from a chance of its own, so that what
// the others stand for stays the same.

template <class List>
void in_order(List& all) {
    std::stable_sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.at < b.at; });
}

/// How orderly the servers are, within what was observed.
void draw_habits(dice& d, scenario& s) {
    for (auto& server : s.servers) {
        const auto habits = testing::opencode_sim::options_from(d.below(1u << 30));
        server.model.late_events = habits.late_events;
        server.model.lag = habits.lag;
        server.model.ask_first = habits.ask_first;
        server.model.plugin_error = habits.plugin_error;
        server.model.late_heartbeat = habits.late_heartbeat;
        server.model.late_idle = habits.late_idle;
        // Whoever holds such a server gives it time for its heartbeats: 10 s, and 17 s late.
        if (server.model.late_heartbeat > 0)
            server.stall_timeout = std::max<duration>(server.stall_timeout, seconds(30));
    }
}

/// The context is full in a later turn of a session, while nobody else prompts there.
void draw_overflow_of_a_later_turn(dice& d, scenario& s) {
    const auto session = d.below(s.sessions.size());
    const bool recovers = d.percent(75);
    auto prompt = draw_prompt(d, false);
    const auto wait = d.ms(100, 6000);
    duration last{};
    bool prompted = false;
    for (const auto& a : s.actions) {
        const bool prompts = a.what == action::kind::prompt || a.what == action::kind::foreign_prompt;
        if (a.session != session || !prompts)
            continue;
        if (a.prompt.text.starts_with("#overflow"))
            return;
        prompted = prompted || a.what == action::kind::prompt;
        last = std::max(last, a.at);
    }
    if (!prompted)
        return;
    action a;
    a.what = action::kind::prompt_alone;
    a.at = last + wait;
    a.server = s.sessions[session].server;
    a.session = session;
    a.prompt = std::move(prompt);
    a.prompt.text = recovers ? "#overflow-ok" : "#overflow";
    a.prompt.agent.clear();
    a.prompt.model = "mock/mock-1";
    a.prompt.detach_after.reset();
    a.prompt.cancel_after.reset();
    a.prompt.adopted_afterwards = false;
    s.actions.push_back(std::move(a));
    in_order(s.actions);
}

void draw_abort_of_an_unknown_session(dice& d, scenario& s) {
    action a;
    a.what = action::kind::abort_unknown;
    a.at = d.ms(0, 8000);
    a.session = d.below(s.sessions.size());
    a.server = s.sessions[a.session].server;
    s.actions.push_back(std::move(a));
    in_order(s.actions);
}

void draw_rejections_with_a_message(dice& d, scenario& s) {
    for (auto& a : s.actions)
        if (d.percent(70)) {
            a.prompt.reply = "reject";
            a.prompt.reply_message = "do it without";
        }
}

void draw_damaged_answers(dice& d, scenario& s) {
    using kind = fault::kind;
    for (auto left = d.between(1, 3); left > 0; --left) {
        trouble t;
        t.what = trouble::kind::inject;
        t.at = d.ms(0, 8000);
        t.server = d.below(s.servers.size());
        t.fault.what = d.pick(
            std::initializer_list<kind>{kind::cut_answer, kind::bad_json, kind::odd_json, kind::web_page});
        t.fault.times = d.percent(10) ? fault::always : d.between(1, 4);
        s.troubles_end = std::max(s.troubles_end, t.at + seconds(5));
        s.troubles.push_back(std::move(t));
    }
    in_order(s.troubles);
}

void draw_a_server_that_is_said_to_be_gone(dice& d, scenario& s) {
    trouble t;
    t.what = trouble::kind::gone;
    t.server = d.below(s.servers.size());
    t.at = d.ms(0, 8000);
    t.lasts = d.ms(100, d.percent(60) ? 3000 : 30'000);
    const bool for_good = d.percent(30);
    const bool shows = d.percent(70);
    trouble cut;
    cut.server = t.server;
    cut.at = t.at + d.ms(0, 500);
    // Of a server that moves on meanwhile, nobody would know where it is.
    const bool moves = std::any_of(s.troubles.begin(), s.troubles.end(), [&](const trouble& other) {
        return other.server == t.server && other.what == trouble::kind::restart_elsewhere;
    });
    auto& server = s.servers[t.server];
    server.locates = true;
    server.gone_for_good = for_good && !moves;
    s.troubles_end = std::max(s.troubles_end, t.at + t.lasts + seconds(5));
    s.troubles.push_back(std::move(t));
    if (shows)
        s.troubles.push_back(std::move(cut));
    in_order(s.troubles);
}

void draw_reposts(dice& d, scenario& s) {
    for (auto left = d.between(1, 3); left > 0; --left) {
        action a;
        a.what = action::kind::foreign_repost;
        a.at = d.ms(200, 8000);
        a.session = d.below(s.sessions.size());
        a.server = s.sessions[a.session].server;
        s.actions.push_back(std::move(a));
    }
    in_order(s.actions);
}

void draw_besides(scenario& s) {
    constexpr std::uint64_t another = 0x9e3779b97f4a7c15;
    dice d(s.seed ^ another);
    if (d.percent(12))
        draw_habits(d, s);
    if (d.percent(8))
        draw_overflow_of_a_later_turn(d, s);
    if (d.percent(5))
        draw_abort_of_an_unknown_session(d, s);
    if (d.percent(10))
        draw_rejections_with_a_message(d, s);
    if (d.percent(10))
        draw_damaged_answers(d, s);
    if (d.percent(6))
        draw_a_server_that_is_said_to_be_gone(d, s);
    if (d.percent(6))
        draw_reposts(d, s);
}

/// Somebody else prompts too, what needs no answer of anybody's.
void draw_prompts_of_others(dice& d, scenario& s) {
    for (std::size_t i = 0; i < s.sessions.size(); ++i) {
        const bool overflows = std::any_of(s.actions.begin(), s.actions.end(), [&](const action& a) {
            return a.session == i && a.prompt.text.starts_with("#overflow");
        });
        for (auto left = overflows ? 0 : d.below(4); left > 0; --left) {
            action a;
            a.what = action::kind::foreign_prompt;
            a.at = d.ms(0, 30'000);
            a.server = s.sessions[i].server;
            a.session = i;
            a.prompt.text = d.pick(simple_tags);
            if (a.prompt.text.starts_with("#overflow"))
                a.prompt.text = "#slow:30";
            s.troubles_end = std::max(s.troubles_end, a.at + seconds(5));
            s.actions.push_back(std::move(a));
        }
    }
    in_order(s.actions);
}

following draw_following(dice& d, std::size_t session) {
    using opencode::follow_by;
    following f;
    f.session = session;
    f.how =
        d.pick(std::initializer_list<follow_by>{follow_by::stream, follow_by::capture, follow_by::activity});
    if (d.percent(55))
        f.from = d.ms(0, 20'000);
    if (d.percent(30))
        f.let_go = d.ms(0, 25'000);
    if (d.percent(15))
        f.pace = d.ms(1, 300);
    return f;
}

follower_plan draw_follower(dice& d, const scenario& s) {
    follower_plan f;
    f.server = d.below(s.servers.size());
    f.own_runtime = d.percent(50);
    f.global_stream = d.percent(25);
    f.policy = draw_policy(d);
    f.policy.max_attempts = retry::unlimited;
    f.capture.tick = d.ms(500, 5000);
    f.capture.concurrent = d.between(1, 16);
    f.capture.retry.jitter =
        d.pick(std::initializer_list<retry::jitter>{retry::jitter::none, retry::jitter::equal});
    if (d.percent(30))
        f.stall_timeout = d.ms(15'000, 30'000);
    if (s.servers[f.server].model.late_heartbeat > 0)
        f.stall_timeout = std::max<duration>(f.stall_timeout, seconds(30));
    if (d.percent(30))
        f.quiet_after = d.ms(5000, 15'000);
    if (d.percent(15))
        f.queue_items = d.between(4, 32);
    if (d.percent(8))
        f.stopped = d.ms(0, 40'000);
    const bool all = d.percent(50);
    for (std::size_t i = 0; i < s.sessions.size(); ++i) {
        if (s.sessions[i].server != f.server || (!all && d.percent(40)))
            continue;
        f.follows.push_back(draw_following(d, i));
        while (d.percent(30)) { // once more: beside the first, or after it
            auto again = draw_following(d, i);
            again.from += f.follows.back().from;
            f.follows.push_back(std::move(again));
        }
    }
    return f;
}

void draw_followers(scenario& s) {
    constexpr std::uint64_t yet_another = 0xd1b54a32d192ed03;
    dice d(s.seed ^ yet_another);
    draw_prompts_of_others(d, s);
    for (auto left = d.percent(70) ? 1 : d.between(2, 3); left > 0; --left)
        s.followers.push_back(draw_follower(d, s));
}

std::string in_ms(duration d) {
    return std::to_string(to_ms(d)) + " ms";
}

std::string in_percent(double chance) {
    return std::to_string(static_cast<int>(chance * 100 + 0.5)) + " %";
}

/// How orderly the server is, where it is not as by default.
std::string describe(const testing::opencode_sim::options& model) {
    if (model.late_events + model.plugin_error + model.late_heartbeat + model.late_idle == 0)
        return {};
    return "\n    late: events " + in_percent(model.late_events) + " (by " + in_ms(model.lag) +
           "), heartbeats " + in_percent(model.late_heartbeat) + ", idles " + in_percent(model.late_idle) +
           "; asks first " + in_percent(model.ask_first) + ", errors of plugins " +
           in_percent(model.plugin_error);
}

const char* name_of(fault::kind what) {
    static constexpr const char* names[] = {
        "cut",    "reset", "stall",      "mute",        "garbage",    "refuse",   "restart",  "early-end",
        "status", "hang",  "api-status", "drop-answer", "cut-answer", "bad-json", "odd-json", "web-page"};
    return names[static_cast<std::size_t>(what)];
}

std::string describe(const prompt_plan& p) {
    std::string out = p.text;
    if (!p.agent.empty())
        out += " agent " + p.agent;
    if (!p.model.empty())
        out += " model " + p.model;
    if (p.reader == reader::slow)
        out += ", read slowly (" + in_ms(p.pace) + ")";
    if (p.reader == reader::impatient)
        out += ", read impatiently (" + in_ms(p.pace) + ")";
    if (p.abort_after)
        out += ", aborted after " + in_ms(*p.abort_after);
    if (p.detach_after)
        out += ", detached after " + in_ms(*p.detach_after);
    if (p.cancel_after)
        out += ", cancelled after " + in_ms(*p.cancel_after);
    if (p.adopted_afterwards)
        out += ", then adopted";
    return out + ", replies " + p.reply + (p.reply_message.empty() ? "" : " and why") + " after " +
           in_ms(p.reply_after) + (p.reply_twice ? " twice" : "");
}

std::string describe(const follower_plan& f) {
    std::string out =
        "server " + std::to_string(f.server) + (f.own_runtime ? ", with a runtime of its own" : "") +
        (f.global_stream ? ", one global stream" : "") + ", looks each " + in_ms(f.capture.tick) + ", " +
        std::to_string(f.capture.concurrent) + " at once, stall " + in_ms(f.stall_timeout) + ", quiet " +
        in_ms(f.quiet_after) + ", queue " + std::to_string(f.queue_items) +
        (f.stopped ? ", stopped at " + in_ms(*f.stopped) : "") + "\n";
    static constexpr const char* ways[] = {"stream", "capture", "activity"};
    for (const auto& each : f.follows)
        out += "    session " + std::to_string(each.session) + " by " +
               ways[static_cast<std::size_t>(each.how)] + " from " + in_ms(each.from) +
               (each.let_go ? ", let go of after " + in_ms(*each.let_go) : "") +
               (each.pace ? ", read slowly (" + in_ms(*each.pace) + ")" : "") + "\n";
    return out;
}

} // namespace

scenario make_scenario(std::uint64_t seed) {
    dice d(seed);
    scenario s;
    s.seed = seed;
    s.latency = d.percent(30) ? duration::zero() : d.ms(0, d.percent(80) ? 20 : 200);
    if (d.percent(25))
        s.slice = d.percent(50) ? d.between(1, 8) : d.between(9, 700);
    const auto servers = d.percent(80) ? 1u : d.between(2, 3);
    for (std::size_t i = 0; i < servers; ++i)
        s.servers.push_back(draw_server(d, i));
    const auto sessions = d.between(servers, servers + 3);
    for (std::size_t i = 0; i < sessions; ++i)
        s.sessions.push_back({i < servers ? i : d.below(servers), d.pick(directories)});
    draw_actions(d, s);
    draw_troubles(d, s);
    draw_besides(s);
    if (seed >= first_with_followers)
        draw_followers(s);
    return s;
}

std::string describe(const action& a) {
    static constexpr const char* names[] = {"prompts",
                                            "aborts the session",
                                            "somebody prompts",
                                            "somebody aborts",
                                            "somebody runs a shell",
                                            "somebody deletes the session",
                                            "somebody moves the session",
                                            "prompts alone",
                                            "somebody aborts a session that there is not",
                                            "somebody sends its last prompt again",
                                            "wakes",
                                            "stops",
                                            "cancels run()"};
    std::string out = names[static_cast<std::size_t>(a.what)];
    if (a.what == action::kind::prompt || a.what == action::kind::prompt_alone)
        out += " " + describe(a.prompt);
    if (a.what == action::kind::foreign_prompt)
        out += " " + a.prompt.text;
    if (a.what == action::kind::move_session)
        out += " to " + a.directory;
    return out;
}

std::string describe(const trouble& t) {
    static constexpr const char* names[] = {"fault",
                                            "streams cut",
                                            "streams stall",
                                            "mute",
                                            "frozen",
                                            "hangs",
                                            "refuses",
                                            "restarts",
                                            "restarts elsewhere",
                                            "killed",
                                            "instance disposed",
                                            "unreachable",
                                            "connects hang",
                                            "slow network",
                                            "next connections harmed",
                                            "open connections harmed",
                                            "is said to be gone"};
    static constexpr const char* harms[] = {"fin", "rst", "stall", "deaf"};
    std::string out = names[static_cast<std::size_t>(t.what)];
    if (t.what == trouble::kind::inject)
        out += " " + std::string(name_of(t.fault.what)) + " after " + std::to_string(t.fault.after) +
               " bytes, " + std::to_string(t.fault.times) + " times, status " +
               std::to_string(t.fault.status);
    if (t.what == trouble::kind::harm_next || t.what == trouble::kind::harm_open)
        out += ": " + std::string(harms[static_cast<std::size_t>(t.harm.what)]) + " after " +
               std::to_string(t.harm.after) + " bytes, " + std::to_string(t.times) + " times";
    if (t.what == trouble::kind::slow_network)
        out += " " + in_ms(t.latency);
    if (t.what == trouble::kind::dispose)
        out += " " + t.directory;
    return out + " (for " + in_ms(t.lasts) + ")";
}

std::string describe(const scenario& s) {
    std::string out =
        "seed " + std::to_string(s.seed) + ": latency " + in_ms(s.latency) + ", reads of " +
        (s.slice == 0 ? std::string("any size") : "at most " + std::to_string(s.slice) + " bytes") + "\n";
    for (std::size_t i = 0; i < s.servers.size(); ++i) {
        const auto& v = s.servers[i];
        static constexpr const char* jitters[] = {"none", "equal", "full"};
        out += "  server " + std::to_string(i) + " at " + to_string(v.at) + ": pace " + in_ms(v.model.pace) +
               ", down " + in_ms(v.model.restart_down) + " and mute " + in_ms(v.model.startup_hang) +
               " at a restart" + (v.global_stream ? ", one global stream" : "") +
               (v.locates ? v.says_down ? ", located (or said to be down)" : ", located" : "") +
               (v.gone_for_good ? ", once gone for good" : "") + describe(v.model) + "\n    attempts " +
               (v.policy.max_attempts == retry::unlimited ? std::string("unlimited")
                                                          : std::to_string(v.policy.max_attempts)) +
               ", delays " + in_ms(v.policy.base_delay) + " to " + in_ms(v.policy.max_delay) + ", jitter " +
               jitters[static_cast<std::size_t>(v.policy.jitter)] + ", stall " + in_ms(v.stall_timeout) +
               ", greeting " + in_ms(v.greeting_timeout) + ", quiet " + in_ms(v.quiet_after) + ", queue " +
               std::to_string(v.queue_items) + "\n";
    }
    for (std::size_t i = 0; i < s.sessions.size(); ++i)
        out += "  session " + std::to_string(i) + " on server " + std::to_string(s.sessions[i].server) +
               " in " + s.sessions[i].directory + "\n";
    for (std::size_t i = 0; i < s.followers.size(); ++i)
        out += "  follower " + std::to_string(i) + " of " + describe(s.followers[i]);
    for (const auto& a : s.actions)
        out += "  " + in_ms(a.at) + ": " +
               (a.what >= action::kind::wake ? "server " + std::to_string(a.server)
                                             : "session " + std::to_string(a.session)) +
               " " + describe(a) + "\n";
    for (const auto& t : s.troubles)
        out += "  " + in_ms(t.at) + ": trouble at server " + std::to_string(t.server) + ": " + describe(t) +
               "\n";
    return out + "  " + in_ms(s.troubles_end) + ": all is well again\n";
}

} // namespace holdfast::sim
