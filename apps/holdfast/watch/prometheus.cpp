#include "watch/prometheus.hpp"

#include <array>
#include <charconv>
#include <vector>

namespace holdfast::app {

namespace {

std::string escaped(std::string_view help) {
    std::string text;
    for (const char c : help) {
        if (c == '\\')
            text += "\\\\";
        else if (c == '\n')
            text += "\\n";
        else
            text += c;
    }
    return text;
}

std::string number(double value) {
    std::array<char, 32> digits{};
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
    return {digits.data(), end};
}

std::string head_of(const metric_sample& first) {
    const std::string name(first.name);
    const bool counts = first.what == metric_info::kind::counter;
    return "# HELP " + name + ' ' + escaped(first.help) + "\n# TYPE " + name +
           (counts ? " counter\n" : " gauge\n");
}

} // namespace

std::string prometheus_text(std::span<const metric_sample> samples) {
    std::string text;
    std::string_view last;
    for (const auto& each : samples) {
        if (each.name != last)
            text += head_of(each);
        last = each.name;
        text += each.name;
        if (!each.label.empty())
            text.append("{").append(each.label).append("}");
        text += ' ' + number(each.value) + '\n';
    }
    return text;
}

std::string prometheus_text(const runtime& world, std::span<const metric_sample> more) {
    std::vector<metric_sample> samples;
    for (const auto& each : metric_table)
        samples.push_back(
            {each.what, each.name, each.label, each.help, static_cast<double>(world.value(each.which))});
    samples.insert(samples.end(), more.begin(), more.end());
    return prometheus_text(samples);
}

} // namespace holdfast::app
