// Every fault of faults.hpp between the library and the simulated server.
#include <boost/test/unit_test.hpp>

#include "faults.hpp"
#include "support/sim_process.hpp"

#include <csignal>
#include <memory>

namespace {

using namespace holdfast::test;

class simulated final : public faults::server_to_break {
public:
    unsigned short port() const override { return sim_->port(); }
    std::string directory() const override { return "/sim"; }
    std::string slow_tag(unsigned words) const override { return "#slow:" + std::to_string(words); }
    void suspend() override { sim_->child().signal(SIGSTOP); }
    void resume() override { sim_->child().signal(SIGCONT); }
    void kill() override {
        sim_->child().signal(SIGKILL);
        sim_->child().wait(std::chrono::seconds(10));
    }
    void start() override { sim_ = make(); }

private:
    static std::unique_ptr<sim_process> make() {
        return std::make_unique<sim_process>(std::vector<std::string>{"--pace", "25"});
    }
    std::unique_ptr<sim_process> sim_ = make();
};

} // namespace

BOOST_AUTO_TEST_CASE(every_fault_is_noticed_and_mended_in_time_and_its_turn_told_right) {
    simulated server;
    for (const auto& row : faults::breakings())
        BOOST_TEST_CONTEXT(row.name) {
            faults::check_breaking(server, row);
        }
}

BOOST_AUTO_TEST_CASE(what_is_only_slow_breaks_nothing) {
    simulated server;
    for (const auto& row : faults::burdens())
        BOOST_TEST_CONTEXT(row.name) {
            faults::check_burden(server, row);
        }
}
