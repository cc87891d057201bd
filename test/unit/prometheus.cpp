// The text that Prometheus reads. That its own tool takes it is shown in real/watch_metrics.
#include <boost/test/unit_test.hpp>

#include "watch/prometheus.hpp"

#include <holdfast/testing/world.hpp>

#include <set>
#include <sstream>
#include <string>
#include <vector>

using namespace holdfast;
using namespace holdfast::app;

BOOST_AUTO_TEST_CASE(help_and_type_come_once_a_name_and_then_its_samples) {
    const std::vector<metric_sample> samples{
        {metric_info::kind::counter, "a_total", "b=\"c\"", "What a is.", 3},
        {metric_info::kind::counter, "a_total", "b=\"d\"", "What a is.", 0},
        {metric_info::kind::gauge, "e", "", "What e is.", 0.5},
    };
    BOOST_TEST(prometheus_text(samples) == "# HELP a_total What a is.\n"
                                           "# TYPE a_total counter\n"
                                           "a_total{b=\"c\"} 3\n"
                                           "a_total{b=\"d\"} 0\n"
                                           "# HELP e What e is.\n"
                                           "# TYPE e gauge\n"
                                           "e 0.5\n");
}

BOOST_AUTO_TEST_CASE(a_help_text_stays_on_its_line) {
    const std::vector<metric_sample> samples{{metric_info::kind::gauge, "e", "", "one\ntwo\\three", 1}};
    BOOST_TEST(prometheus_text(samples) == "# HELP e one\\ntwo\\\\three\n# TYPE e gauge\ne 1\n");
}

BOOST_AUTO_TEST_CASE(all_that_the_library_counts_is_told_with_its_value) {
    testing::world world;
    world.rt().count(metric::turns_failed, 7);
    const auto text = prometheus_text(world.rt());
    for (const auto& each : metric_table) {
        auto line = '\n' + std::string(each.name);
        if (!each.label.empty())
            line += '{' + std::string(each.label) + '}';
        line += each.which == metric::turns_failed ? " 7\n" : " 0\n";
        BOOST_TEST(text.find(line) != std::string::npos, line);
    }
}

// promtool does not look for this; Prometheus refuses the whole page.
BOOST_AUTO_TEST_CASE(no_series_is_told_twice_and_each_name_in_one_place) {
    testing::world world;
    std::istringstream lines(prometheus_text(world.rt()));
    std::set<std::string> series, names;
    std::size_t samples = 0;
    for (std::string line; std::getline(lines, line);) {
        if (line.starts_with("# TYPE "))
            BOOST_TEST(names.insert(line.substr(7, line.rfind(' ') - 7)).second, line);
        if (line.starts_with('#'))
            continue;
        ++samples;
        BOOST_TEST(series.insert(line.substr(0, line.find(' '))).second, line);
    }
    BOOST_TEST(samples == metric_count);
}

BOOST_AUTO_TEST_CASE(what_the_program_adds_comes_last) {
    testing::world world;
    const std::vector<metric_sample> more{{metric_info::kind::gauge, "mine", "", "Mine.", 2}};
    BOOST_TEST(
        prometheus_text(world.rt(), more).ends_with("\n# HELP mine Mine.\n# TYPE mine gauge\nmine 2\n"));
}
