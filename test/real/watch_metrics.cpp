// /metrics as Prometheus' own tool judges it. Without promtool (see test/run.sh) it is skipped.
#include <boost/test/unit_test.hpp>

#include "support/plain_http.hpp"
#include "support/process.hpp"
#include "support/watched_port.hpp"

#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <limits>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace {

using namespace holdfast;
using namespace holdfast::test;
using namespace std::chrono_literals;
namespace fs = std::filesystem;

constexpr int skipped = 77; // what ctest is told to take as "not run"

std::string variable(const char* name) {
    const char* value = std::getenv(name);
    return value != nullptr ? value : "";
}

/// In the PATH, or where test/run.sh unpacks it. Empty: nowhere.
std::string find_promtool() {
    const auto cache = variable("XDG_CACHE_HOME");
    auto folders = variable("PATH") + ':' + (cache.empty() ? variable("HOME") + "/.cache" : cache) +
                   "/holdfast/promtool";
    std::istringstream all(folders);
    for (std::string folder; std::getline(all, folder, ':');)
        if (const auto path = fs::path(folder) / "promtool"; fs::exists(path))
            return path;
    return {};
}

struct has_promtool {
    has_promtool() {
        if (!find_promtool().empty())
            return;
        std::cout << "skipped: no promtool\n";
        std::exit(skipped);
    }
};
BOOST_TEST_GLOBAL_FIXTURE(has_promtool);

struct verdict {
    int code = -1;
    std::string words;
};

/// Code 0: nothing to complain about; 1: not readable; 3: readable, but against the rules.
verdict promtool(const std::string& text) {
    process::options what;
    what.argv = {find_promtool(), "check", "metrics"};
    what.environment = current_environment();
    what.standard_input = process::input::pipe;
    process tool(std::move(what));
    tool.write(text);
    tool.close_input();
    const auto ended = tool.wait(30s);
    tool.wait_end_of_output(5s);
    verdict said{ended && ended->signal == 0 ? ended->code : -1, {}};
    for (const auto from : {process::stream::output, process::stream::errors})
        for (const auto& line : tool.lines(from))
            said.words += line + '\n';
    return said;
}

std::string metrics_of(const watched_port& port) {
    return http_call(port.number(), "GET", "/metrics").body;
}

} // namespace

BOOST_AUTO_TEST_CASE(promtool_has_nothing_to_say_against_what_the_port_shows) {
    watched_port port;
    const auto fresh = promtool(metrics_of(port));
    BOOST_TEST(fresh.code == 0, fresh.words);
    BOOST_TEST(fresh.words == "");
    for (const auto& each : metric_table)
        port.count(each.which, 123'456'789'012);
    const auto busy = promtool(metrics_of(port));
    BOOST_TEST(busy.code == 0, busy.words);
}

BOOST_AUTO_TEST_CASE(promtool_finds_each_fault_that_there_could_be) {
    watched_port port;
    const auto good = metrics_of(port);
    const auto with = [&good](const std::string& from, const std::string& to) {
        auto text = good;
        const auto at = text.find(from);
        BOOST_TEST_REQUIRE(at != std::string::npos, from);
        return text.replace(at, from.size(), to);
    };
    for (const auto& bad :
         {with("holdfast_turns_open 0", "holdfast_turns_open none"),
          with("holdfast_turns_open 0", "holdfast_turns_open"),
          with("# HELP holdfast_turns_open ", "# holdfast_turns_open "),
          with("# TYPE holdfast_turns_open gauge", "# TYPE holdfast_turns_open counter"),
          with("# TYPE holdfast_turns_open gauge", "# TYPE holdfast_turns_open number"),
          with("{outcome=\"completed\"}", "{outcome=completed}"),
          with("holdfast_requests_total 0", "holdfast-requests_total 0"),
          good +
              "# HELP holdfast_turns_open Again.\n# TYPE holdfast_turns_open gauge\nholdfast_turns_open 1\n",
          good.substr(0, good.size() - 1)}) {
        const auto said = promtool(bad);
        BOOST_TEST(said.code > 0, bad);
        BOOST_TEST(!said.words.empty());
    }
}
