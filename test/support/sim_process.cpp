#include "support/sim_process.hpp"

#include <chrono>
#include <stdexcept>

namespace holdfast::test {

namespace {

process::options options_of(const std::vector<std::string>& arguments,
                            const std::vector<std::string>& environment) {
    process::options what;
    what.argv = {program_path("holdfast"), "sim", "--listen", "127.0.0.1:0"};
    what.argv.insert(what.argv.end(), arguments.begin(), arguments.end());
    what.environment = environment;
    return what;
}

} // namespace

sim_process::sim_process(const std::vector<std::string>& arguments,
                         const std::vector<std::string>& environment)
    : child_(options_of(arguments, environment)) {
    const auto line = child_.wait_line([](std::string_view) { return true; }, std::chrono::seconds(20));
    if (!line) {
        throw std::runtime_error("holdfast sim does not listen");
    }
    url_ = line->substr(line->rfind(' ') + 1);
}

unsigned short sim_process::port() const {
    return static_cast<unsigned short>(std::stoi(url_.substr(url_.rfind(':') + 1)));
}

} // namespace holdfast::test
