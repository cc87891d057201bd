#include "sweeps.hpp"

#include <stdexcept>
#include <vector>

namespace holdfast::sim {
namespace {

struct named_scenario {
    std::string name;
    scenario what;
};

constexpr sabotage::kind kinds[] = {sabotage::kind::connect, sabotage::kind::read, sabotage::kind::write,
                                    sabotage::kind::suspension, sabotage::kind::callback};

scenario one_session() {
    scenario s;
    s.seed = 1;
    s.latency = milliseconds(3);
    server_plan server;
    server.at = endpoint("http", "127.0.0.1", 4096);
    server.locates = true;
    s.servers.push_back(server);
    s.sessions.push_back({0, "/one"});
    s.troubles_end = seconds(20);
    return s;
}

void add_prompt(scenario& s, duration at, std::string text) {
    action a;
    a.at = at;
    a.prompt.text = std::move(text);
    s.actions.push_back(std::move(a));
}

std::vector<named_scenario> scenarios() {
    std::vector<named_scenario> all;

    auto plain = one_session();
    add_prompt(plain, milliseconds(100), "#plain");
    all.push_back({"plain turn", plain});

    auto ask = one_session();
    add_prompt(ask, milliseconds(100), "#ask");
    all.push_back({"tool with an ask", ask});

    auto two = one_session();
    add_prompt(two, milliseconds(100), "#slow:20");
    add_prompt(two, milliseconds(250), "#plain");
    all.push_back({"two prompts", two});

    auto gap = one_session();
    add_prompt(gap, milliseconds(100), "#slow:40");
    trouble cut;
    cut.what = trouble::kind::cut_streams;
    cut.at = milliseconds(500);
    gap.troubles.push_back(cut);
    all.push_back({"gap and repair", gap});

    auto moved = one_session();
    add_prompt(moved, milliseconds(100), "#slow:40");
    action move;
    move.what = action::kind::move_session;
    move.at = milliseconds(400);
    move.directory = "/two";
    moved.actions.push_back(move);
    moved.troubles.push_back(cut);
    all.push_back({"moved session", moved});
    return all;
}

} // namespace

std::string to_string(sabotage::kind what) {
    static constexpr const char* names[] = {"connect", "read", "write", "suspension", "callback"};
    return names[static_cast<std::size_t>(what)];
}

void sweep(const std::function<void(const sweep_step&)>& each) {
    for (const auto& one : scenarios())
        for (const auto kind : kinds)
            for (std::size_t nth = 1;; ++nth) {
                run_options how;
                how.sabotaged = sabotage{kind, nth};
                sweep_step step{one.name, *how.sabotaged, run(one.what, how)};
                const bool struck = step.ran.struck;
                each(step);
                if (!struck)
                    break;
            }
}

run_result repeat_step(const std::string& scenario, const std::string& kind, std::size_t nth) {
    for (const auto& one : scenarios())
        for (const auto k : kinds)
            if (one.name == scenario && to_string(k) == kind) {
                run_options how;
                how.timeline = true;
                how.sabotaged = sabotage{k, nth};
                return run(one.what, how);
            }
    throw std::invalid_argument("no such sweep: " + scenario + ", " + kind);
}

} // namespace holdfast::sim
