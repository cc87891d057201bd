// Metrics as Prometheus reads them: text exposition format 0.0.4.
#pragma once

#include <holdfast/runtime/metrics.hpp>
#include <holdfast/runtime/runtime.hpp>

#include <span>
#include <string>
#include <string_view>

namespace holdfast::app {

/// One number, as metric_info names it. A counter's name ends in _total.
struct metric_sample {
    metric_info::kind what = metric_info::kind::gauge;
    std::string_view name;
    std::string_view label;
    std::string_view help;
    double value = 0;
};

/// HELP and TYPE once a name, then its samples; those of one name stand side by side in `samples`.
[[nodiscard]] std::string prometheus_text(std::span<const metric_sample> samples);

/// All that the library counts in this world, and then `more`.
[[nodiscard]] std::string prometheus_text(const runtime& world, std::span<const metric_sample> more = {});

} // namespace holdfast::app
