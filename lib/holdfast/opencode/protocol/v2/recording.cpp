#include <holdfast/opencode/protocol/v2/recording.hpp>

#include <utility>

namespace holdfast::opencode::v2 {

namespace {

constexpr time_point no_time{}; // nothing here depends on time

} // namespace

turn_tracker& recording::root_of(const std::string& session) {
    if (const auto known = roots_.find(session); known != roots_.end())
        return sessions_.find(known->second)->second;
    roots_.emplace(session, session);
    order_.push_back(session);
    tracker_options options;
    options.adopt_prompts = true;
    auto& made = sessions_.try_emplace(session, session, options).first->second;
    (void)made.attached(no_time);
    return made;
}

void recording::feed(event e) {
    if (e.session.empty())
        return;
    if (const auto* made = std::get_if<session_created>(&e.what); made && !made->parent.empty()) {
        (void)root_of(made->parent);
        roots_.emplace(e.session, roots_.find(made->parent)->second);
    }
    auto& root = root_of(e.session);
    const auto id = roots_.find(e.session)->second;
    for (auto& each : root.hear(std::move(e), no_time))
        if (auto* told = std::get_if<ledger::deliver>(&each))
            rows_.push_back({id, std::move(told->message), std::move(told->event)});
}

std::vector<recorded_row> recording::take_rows() {
    return std::exchange(rows_, {});
}

std::vector<recorded_check> recording::needs_check() const {
    std::vector<recorded_check> checks;
    for (const auto& id : order_)
        for (auto& open : sessions_.find(id)->second.unsettled(no_time))
            checks.push_back({id, std::move(open.message), std::move(open.why)});
    return checks;
}

} // namespace holdfast::opencode::v2
