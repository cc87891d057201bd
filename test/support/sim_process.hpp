// `holdfast sim`, started for a test on a free port.
#pragma once

#include "support/command.hpp"
#include "support/process.hpp"

#include <string>
#include <vector>

namespace holdfast::test {

class sim_process {
public:
    /// Waits until it listens. Throws std::runtime_error when it does not.
    explicit sim_process(const std::vector<std::string>& arguments = {},
                         const std::vector<std::string>& environment = current_environment());

    /// "http://127.0.0.1:PORT"
    [[nodiscard]] const std::string& url() const noexcept { return url_; }
    [[nodiscard]] unsigned short port() const;
    [[nodiscard]] process& child() noexcept { return child_; }

private:
    process child_;
    std::string url_;
};

} // namespace holdfast::test
