// What became of each prompt, as the simulated server of 2.x itself knows it: for tests that compare it with
// what a client makes of the events.
#include <holdfast/testing/sim2_model.hpp>

#include <algorithm>

namespace holdfast::testing::detail::sim2 {

namespace {

using outcome = opencode_sim::outcome;
using how = terminal::how;

std::string text_of(const message& m) {
    std::string out;
    for (const auto& part : m.row.at("content").as_array())
        if (part.at("type") == "text")
            out += part.at("text").as_string();
    return out;
}

} // namespace

std::size_t model::record_of(const std::string& message) const {
    for (std::size_t i = 0; i < prompts_.size(); ++i)
        if (prompts_[i].message == message)
            return i;
    return none;
}

/// The prompt that the session's steps work for: the last one promoted, while it has not ended.
std::size_t model::owner_of(const session& s) const {
    for (std::size_t i = prompts_.size(); i-- > 0;) {
        const auto& r = prompts_[i];
        if (r.session == s.id && r.promoted && r.outcome == outcome::pending && r.merged_into.empty())
            return i;
    }
    return none;
}

void model::with_owner(session& s, const std::function<void(prompt_record&)>& change) {
    if (const auto owner = owner_of(s); owner != none)
        change(prompts_[owner]);
}

/// Prompts that were answered together with this one end as it does.
void model::close_record(prompt_record& r, opencode_sim::outcome what, std::string_view error) {
    if (r.outcome != outcome::pending)
        return;
    r.outcome = what;
    r.error = error;
    for (auto& other : prompts_)
        if (other.merged_into == r.message)
            close_record(other, what, error);
}

/// What had its answer ends by it; what had none yet is answered together with the new one.
void model::promote_record(session& s, const message& m) {
    const auto owner = owner_of(s);
    if (owner != none && prompts_[owner].finished)
        close_record(prompts_[owner], outcome::completed);
    else if (owner != none && m.type == "user")
        prompts_[owner].merged_into = m.id;
    if (const auto fresh = record_of(m.id); fresh != none)
        prompts_[fresh].promoted = true;
}

void model::close_records(session& s, const terminal& end, bool rejected) {
    with_owner(s, [&](prompt_record& r) {
        if (r.finished || end.what == how::succeeded)
            close_record(r, outcome::completed);
        else if (end.what == how::failed)
            close_record(r, outcome::failed, text_at(end.error, "type"));
        else
            close_record(r, rejected ? outcome::rejected : outcome::aborted);
    });
}

/// The process died.
void model::lose_records(session& s) {
    with_owner(s, [&](prompt_record& r) {
        close_record(r, r.finished ? outcome::completed : outcome::interrupted);
    });
}

std::vector<opencode_sim::turn_truth> model::truth() {
    std::vector<opencode_sim::turn_truth> out;
    for (const auto& r : prompts_) {
        opencode_sim::turn_truth t = r;
        if (session* s = find(r.session)) {
            const auto owner = owner_of(*s);
            t.running = s->run.answer && owner != none && prompts_[owner].message == r.message;
            if (const message* last = find_message(*s, r.last_answer))
                t.text = text_of(*last);
        }
        out.push_back(std::move(t));
    }
    return out;
}

} // namespace holdfast::testing::detail::sim2
