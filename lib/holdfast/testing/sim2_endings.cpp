// How executions of the simulated server of 2.x end: by themselves, by an interrupt, with the process.
#include <holdfast/testing/sim2_model.hpp>

#include <algorithm>
#include <utility>

namespace holdfast::testing::detail::sim2 {

namespace {

using how = terminal::how;
constexpr int most_resumes = 10; // of one turn, in 2.0.26

std::string_view outcome_of(const terminal& end) {
    switch (end.what) {
    case how::succeeded: return "succeeded";
    case how::failed: return "failed";
    case how::interrupted: break;
    }
    return "interrupted";
}

} // namespace

/// Its one terminal. Nothing of the execution is touched afterwards.
void model::end_execution(session& s, terminal end) {
    const bool is_shutdown = end.what == how::interrupted && end.reason == "shutdown";
    const bool goes_on = stopping_ && is_shutdown && resumes(s);
    may_fall_behind(settings_.late_terminal, milliseconds(130));
    json::object data;
    if (end.what == how::failed)
        data["error"] = end.error;
    if (end.what == how::interrupted)
        data["reason"] = end.reason;
    log(s, "session.execution." + std::string(outcome_of(end)), std::move(data));
    if (!goes_on)
        close_records(s, end, is_shutdown && s.run.rejected);
    if (spoken_->is_current && !is_shutdown) {
        message& row = add_message(s, ascending("msg"), "idle");
        row.row["outcome"] = outcome_of(end);
        if (end.what == how::failed)
            row.row["error"] = end.error;
        s.outcome = outcome_of(end);
        s.idle_ms = std::max(s.idle_ms + 1, wall_ms());
    }
    if (!is_shutdown) {
        s.claimed = false;
        s.resumed = 0;
    }
    s.last_end = std::move(end);
    over(s);
}

/// Nothing runs any more.
void model::over(session& s) {
    const bool again = s.run.again && !s.deleted;
    const auto settled = std::exchange(s.run.when_settled, {});
    auto* const watcher = s.run.watched_by;
    s.run.now = run::phase::idle;
    s.run.beside.clear();
    s.run.answer = nullptr;
    s.run.answer_id.clear();
    s.run.part.reset();
    s.run.tools.clear();
    s.run.compaction.clear();
    s.run.child.clear();
    s.run.watched_by = nullptr;
    s.run.rejected = false;
    s.run.more = false;
    s.run.again = false;
    s.run.over = true;
    for (const auto& told : settled)
        line_.after(duration::zero(), told);
    if (watcher)
        watcher->open();
    report_to_parent(s);
    // From the list, since it may be the story itself that says that it is over.
    if (again)
        line_.after(duration::zero(), [this, &s] { wake(s); });
}

/// When a background subagent ends, the server posts a synthetic input to its parent session.
void model::report_to_parent(session& s) {
    const auto id = std::exchange(s.background_of, {});
    session* parent = find(id);
    if (!parent || stopping_)
        return;
    input told{ascending("msg"), "synthetic", "steer", {}, 0};
    const std::string state = s.last_end.what == how::succeeded ? "completed" : "error";
    told.payload["text"] =
        "<subagent id=\"" + s.id + "\" state=\"" + state + "\" description=\"sub job\">\n</subagent>";
    json::object ignored;
    prompt(*parent, std::move(told), true, ignored);
}

/// Takes the running story away, wherever it waits.
void model::drop_story(session& s) {
    for (const auto& a : asks_)
        if (a->session == s.id)
            a->waiting = nullptr;
    if (session* child = find(s.run.child))
        child->run.watched_by = nullptr;
    s.run.beside.clear();
    s.run.tale = story();
}

// Interrupts.

bool model::interrupt(session& s, bool goes_on, done when_settled) {
    const auto phase = s.run.now;
    if (phase == run::phase::idle) {
        when_settled();
        return false;
    }
    s.run.when_settled.push_back(std::move(when_settled));
    s.run.again = s.run.again || (goes_on && std::any_of(s.inbox.begin(), s.inbox.end(), [](const input& i) {
                                      return i.delivery == "steer";
                                  }));
    if (phase == run::phase::settling)
        return true;
    drop_story(s);
    if (phase != run::phase::working) { // not begun, or no step that could fail
        settle(s, "user");
        return true;
    }
    s.run.now = run::phase::settling;
    line_.after(between(milliseconds(3), milliseconds(130)), [this, &s] {
        if (s.run.now == run::phase::settling)
            settle(s, "user");
    });
    return true;
}

/// The end of an execution whose story was taken away.
void model::settle(session& s, std::string_view reason) {
    if (s.run.now == run::phase::working || s.run.now == run::phase::settling) {
        interrupt_child(s, reason);
        if (const auto id = std::exchange(s.run.compaction, {}); !id.empty()) {
            find_message(s, id)->row["status"] = "failed";
            log(s, "session.compaction.failed",
                {{"reason", "auto"}, {"error", error_of("aborted", "Compaction interrupted")}});
        }
        if (!s.run.answer_id.empty() && !s.run.answer)
            begin_step(s);
        if (s.run.answer) {
            close_text(s);
            withdraw_asks(s);
            settle_tools(s);
            fail_step(s, error_of("aborted", "Step interrupted"));
        }
    }
    end_execution(s, {how::interrupted, std::string(reason), {}});
}

/// The one that its story waits for: its terminal comes first.
void model::interrupt_child(session& s, std::string_view reason) {
    session* child = find(s.run.child);
    if (!child || child->run.now == run::phase::idle)
        return;
    child->run.watched_by = nullptr;
    drop_story(*child);
    settle(*child, reason);
}

/// Forms are cancelled aloud, permissions without a word.
void model::withdraw_asks(session& s) {
    for (const auto& a : asks_)
        if (a->session == s.id && a->form) {
            forms_[a->id] = {s.id, "cancelled"};
            tell(s, "form.cancelled", {{"id", a->id}});
        }
    std::erase_if(asks_, [&](const auto& a) { return a->session == s.id; });
}

void model::settle_tools(session& s) {
    for (const auto& tool : std::vector<open_tool>(s.run.tools)) {
        if (!tool.shell.empty())
            tell_of_place(s.directory, "shell.deleted", {{"id", tool.shell}});
        s.run.was_metered = true; // the model had spoken to its end
        tool_failed(s, tool.call, "aborted", "Tool execution interrupted");
    }
}

void model::when_idle(session& s, done told) {
    if (s.run.now == run::phase::idle)
        told();
    else
        s.run.when_settled.push_back(std::move(told));
}

// The process.

/// Whether a start of the process takes it up again.
bool model::resumes(const session& s) const {
    return settings_.service && s.claimed && s.resumed < most_resumes;
}

void model::kill() {
    catches_up_.reset();
    behind_.clear();
    for (const auto& s : sessions_) {
        const bool ran = s->run.now != run::phase::idle && s->run.now != run::phase::starting;
        drop_story(*s);
        // Before 2.0.0 nothing was taken up after a kill.
        s->claimed = s->claimed && (!ran || spoken_->is_current);
        if (ran && !resumes(*s))
            lose_records(*s);
        s->run = run();
        s->title_planned = false;
    }
    std::erase_if(sessions_, [](const auto& s) { return s->deleted; });
    asks_.clear();
    forms_.clear();
    warm_.clear();
}

void model::terminate() {
    stopping_ = true;
    for (std::size_t i = 0; i < sessions_.size(); ++i) {
        session& s = *sessions_[i];
        if (s.run.now == run::phase::idle || s.run.now == run::phase::starting)
            continue;
        const bool was_interrupted = s.run.now == run::phase::settling;
        drop_story(s);
        settle(s, was_interrupted ? "user" : "shutdown");
    }
    kill();
    stopping_ = false;
}

void model::start() {
    if (!settings_.service)
        return;
    for (std::size_t i = 0; i < sessions_.size(); ++i)
        if (resumes(*sessions_[i])) {
            ++sessions_[i]->resumed;
            begin_execution(*sessions_[i], settings_.resume_delay, true);
        }
}

} // namespace holdfast::testing::detail::sim2
