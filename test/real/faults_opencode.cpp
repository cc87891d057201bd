// Every fault of faults.hpp between the library and a real OpenCode server.
#include <boost/test/unit_test.hpp>

#include "faults.hpp"

namespace {

using namespace holdfast::test;

struct warm_world {
    opencode_world world;
    warm_world() { warm_up(opencode_world::server()); }
};
BOOST_TEST_GLOBAL_FIXTURE(warm_world);

class real final : public faults::server_to_break {
public:
    unsigned short port() const override { return there().port(); }
    std::string directory() const override { return there().directory(); }
    std::string slow_tag(unsigned words) const override { return "#slow:" + std::to_string(words) + ":25"; }
    void suspend() override { there().suspend(); }
    void resume() override { there().resume(); }
    void kill() override { there().stop(); }
    void start() override { there().restart(); }

private:
    static opencode_server& there() { return opencode_world::server(); }
};

} // namespace

BOOST_AUTO_TEST_CASE(every_fault_is_noticed_and_mended_in_time_and_its_turn_told_right) {
    real server;
    for (const auto& row : faults::breakings())
        BOOST_TEST_CONTEXT(row.name) {
            faults::check_breaking(server, row);
            if (row.end == faults::outcome::lost)
                warm_up(opencode_world::server());
        }
}

BOOST_AUTO_TEST_CASE(what_is_only_slow_breaks_nothing) {
    real server;
    for (const auto& row : faults::burdens())
        BOOST_TEST_CONTEXT(row.name) {
            faults::check_burden(server, row);
        }
}
