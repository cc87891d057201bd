#include <holdfast/opencode/ledger/weight.hpp>

namespace holdfast::opencode::ledger {

namespace {

struct texts_of {
    std::size_t operator()(const part_updated& e) const {
        return e.part.text.size() + e.part.title.size() + e.part.error.size();
    }
    std::size_t operator()(const part_delta& e) const { return e.delta.size(); }
    std::size_t operator()(const message_updated& e) const {
        return e.info.error ? e.info.error->message.size() : 0;
    }
    std::size_t operator()(const session_error& e) const { return e.error.message.size(); }
    std::size_t operator()(const status_changed& e) const { return e.status.message.size(); }
    std::size_t operator()(const session_created& e) const {
        return e.info.title.size() + e.info.directory.size();
    }
    std::size_t operator()(const session_updated& e) const {
        return e.info.title.size() + e.info.directory.size();
    }
    std::size_t operator()(const permission_asked& e) const { return weight_of(e.request); }
    std::size_t operator()(const question_asked& e) const { return weight_of(e.request); }
    template <class Other>
    std::size_t operator()(const Other&) const {
        return 0;
    }
};

} // namespace

std::size_t weight_of(const permission_request& r) noexcept {
    std::size_t all = 0;
    for (const auto& each : r.patterns)
        all += sizeof(std::string) + each.size();
    return all;
}

std::size_t weight_of(const question_request& r) noexcept {
    std::size_t all = 0;
    for (const auto& each : r.questions) {
        all += sizeof each + each.text.size() + each.header.size();
        for (const auto& option : each.options)
            all += sizeof option + option.label.size() + option.description.size();
    }
    return all;
}

std::size_t weight_of(const event& e) noexcept {
    return sizeof e + std::visit(texts_of{}, e);
}

} // namespace holdfast::opencode::ledger
