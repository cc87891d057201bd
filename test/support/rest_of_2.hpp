// What REST of a 2.x server would have said at any moment of a recorded stream.
#pragma once

#include <holdfast/opencode/protocol/v2/session_ledger.hpp>
#include <holdfast/opencode/protocol/v2/wire.hpp>

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <variant>

namespace holdfast::test {

/// Of one root session, folded from its events. `tells_outcome`: with rows of type "idle", as 2.0.26.
class rest_of_2 {
public:
    rest_of_2(std::string root, bool tells_outcome) : root_(std::move(root)), tells_outcome_(tells_outcome) {}

    void apply(const opencode::v2::event& e) {
        using namespace opencode::v2;
        if (const auto* made = std::get_if<session_created>(&e.what); made && made->parent == root_) {
            said_.children.emplace_back();
            said_.children.back().id = e.session;
            said_.children.back().parent_id = root_;
        }
        if (const auto* asked = std::get_if<permission_asked>(&e.what))
            said_.permissions.push_back(asked->request);
        if (const auto* asked = std::get_if<form_created>(&e.what))
            said_.forms.push_back(asked->form);
        if (const auto* done = std::get_if<permission_replied>(&e.what))
            std::erase_if(said_.permissions, [&](const auto& r) { return r.id == done->request; });
        if (const auto* done = std::get_if<form_answered>(&e.what))
            std::erase_if(said_.forms, [&](const auto& f) { return f.request.id == done->request; });
        if (std::holds_alternative<execution_ended>(e.what))
            std::erase_if(said_.permissions, [&](const auto& r) { return r.session_id == e.session; });
        created_ms_ = e.created_ms;
        if (e.session == root_)
            std::visit([this](const auto& fact) { take(fact); }, e.what);
    }

    [[nodiscard]] const opencode::v2::snapshot& now() const { return said_; }

private:
    template <class Fact>
    void take(const Fact&) {}
    void take(const opencode::v2::session_deleted&) { said_.session_known = false; }
    void take(const opencode::v2::input_admitted& f) {
        kinds_[f.id] = f.kind;
        said_.inbox.push_back({f.id, f.kind, f.delivery});
    }
    void take(const opencode::v2::input_promoted& f) {
        std::erase_if(said_.inbox, [&](const auto& each) { return each.id == f.id; });
        const bool nobodys = kinds_.contains(f.id) && kinds_[f.id] != opencode::v2::input_kind::prompt;
        row(f.id).what =
            nobodys ? opencode::v2::message_row::kind::synthetic : opencode::v2::message_row::kind::prompt;
    }
    void take(const opencode::v2::execution_started&) { said_.active = true; }
    void take(const opencode::v2::execution_ended& f) {
        said_.active = false;
        if (!tells_outcome_ || f.reason == opencode::v2::wire::reason_shutdown)
            return;
        auto& idle = row("idl_" + std::to_string(said_.rows.size()));
        idle.what = opencode::v2::message_row::kind::idle;
        static constexpr const char* words[] = {"succeeded", "failed", "interrupted"};
        idle.outcome = words[static_cast<int>(f.what)];
        idle.error = f.error;
    }
    void take(const opencode::v2::step_started& f) {
        row(f.message).what = opencode::v2::message_row::kind::answer;
    }
    void take(const opencode::v2::step_ended& f) {
        row(f.message).completed_ms = 1;
        row(f.message).finish = f.finish;
        row(f.message).tokens = f.tokens;
    }
    void take(const opencode::v2::step_failed& f) {
        row(f.message).completed_ms = 1;
        row(f.message).finish = "error";
        row(f.message).error = f.error;
    }
    void take(const opencode::v2::part_started& f) { (void)part(f.part); }
    void take(const opencode::v2::part_ended& f) { part(f.part).text = f.text; }
    void take(const opencode::v2::tool_changed& f) {
        auto& parts = row(f.message).parts;
        auto found = std::find_if(parts.begin(), parts.end(), [&](const auto& p) { return p.id == f.id; });
        if (found == parts.end())
            found = parts.insert(parts.end(),
                                 {opencode::v2::message_part::kind::tool, 0, {}, f.id, f.name, {}, {}});
        found->state = f.state;
        found->error = f.error;
    }

    opencode::v2::message_row& row(const std::string& id) {
        for (auto& each : said_.rows)
            if (each.id == id)
                return each;
        said_.rows.emplace_back();
        said_.rows.back().id = id;
        said_.rows.back().created_ms = created_ms_;
        return said_.rows.back();
    }
    opencode::v2::message_part& part(const opencode::v2::part_key& key) {
        const auto what = key.kind == opencode::v2::part_kind::text
                              ? opencode::v2::message_part::kind::text
                              : opencode::v2::message_part::kind::reasoning;
        auto& parts = row(key.message).parts;
        for (auto& each : parts)
            if (each.what == what && each.ordinal == key.ordinal)
                return each;
        parts.push_back({what, key.ordinal, {}, {}, {}, {}, {}});
        return parts.back();
    }

    std::string root_;
    bool tells_outcome_;
    std::int64_t created_ms_ = 0;
    opencode::v2::snapshot said_;
    std::map<std::string, opencode::v2::input_kind> kinds_;
};

} // namespace holdfast::test
