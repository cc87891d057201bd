#include <holdfast/opencode/ledger/action.hpp>

#include <ostream>

namespace holdfast::opencode::ledger {

namespace {

std::string describe_each(const opened& a) {
    return "opened " + a.message;
}
std::string describe_each(const deliver& a) {
    static constexpr std::string_view names[] = {"text",  "reasoning", "tool",  "permission",  "question",
                                                 "retry", "usage",     "quiet", "interrupted", "gap"};
    auto text = "deliver " + a.message + ' ';
    if (const auto* how = std::get_if<settlement>(&a.event))
        return text + std::string(to_string(how->outcome)) + " by " + std::string(to_string(how->rule));
    return text + std::string(names[a.event.index()]);
}
std::string describe_each(const repost& a) {
    return "repost " + a.message;
}
std::string describe_each(const abort_again&) {
    return "abort_again";
}
std::string describe_each(const fetch_snapshot&) {
    return "fetch_snapshot";
}
std::string describe_each(const snapshot_void&) {
    return "snapshot_void";
}
std::string describe_each(const wake_at& a) {
    return "wake_at " + std::to_string(to_ms(a.when.time_since_epoch()));
}

} // namespace

std::string describe(const action& a) {
    return std::visit([](const auto& each) { return describe_each(each); }, a);
}

std::ostream& operator<<(std::ostream& out, const action& a) {
    return out << describe(a);
}

} // namespace holdfast::opencode::ledger
