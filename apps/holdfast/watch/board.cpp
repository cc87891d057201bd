#include "watch/board.hpp"

#include "options.hpp"
#include "rows.hpp"
#include "turn_text.hpp"

#include <boost/json/array.hpp>

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <iterator>

namespace holdfast::app {
namespace {

namespace json = boost::json;

constexpr std::size_t tail_bytes = 240;
constexpr std::size_t text_bytes = 400;
constexpr std::size_t most_asks = 32;
constexpr std::size_t most_tools = 32;
constexpr duration shown_deleted = seconds(60);
constexpr duration clocks_agree = milliseconds(100); // how far they may drift apart unheeded
constexpr std::size_t most_clocks = 256;
constexpr duration longest_wait = std::chrono::hours(24 * 365); // a longer one has no end to be told

bool continues_a_character(char c) {
    return (static_cast<unsigned char>(c) & 0xC0) == 0x80;
}

std::string beginning(const std::string& text) {
    if (text.size() <= text_bytes)
        return text;
    auto end = text_bytes;
    while (end > 0 && continues_a_character(text[end]))
        --end;
    return text.substr(0, end) + "…";
}

void keep_end(std::string& text) {
    if (text.size() <= tail_bytes)
        return;
    auto begin = text.size() - tail_bytes;
    while (begin < text.size() && continues_a_character(text[begin]))
        ++begin;
    text.erase(0, begin);
}

json::value beginning_or_null(const std::string& text) {
    return text.empty() ? json::value() : json::value(beginning(text));
}

// "12 s"
std::string seconds_of(duration d) {
    const auto tenths = to_ms(d) / 100;
    return std::to_string(tenths / 10) + (tenths % 10 ? '.' + std::to_string(tenths % 10) : "") + " s";
}

board_trouble trouble_of(const retry::failure& why, unsigned failures, std::optional<time_point> next_try) {
    return {why.cls, why.status, why.message, failures, next_try};
}

json::value retry_in(std::optional<time_point> next_try, time_point now) {
    return next_try ? json::value(to_ms(time_until(*next_try, now))) : json::value();
}

// One that never comes is none.
std::optional<time_point> foreseeable(std::optional<time_point> next_try, time_point now) {
    return next_try && *next_try < later(now, longest_wait) ? next_try : std::nullopt;
}

constexpr std::string_view authentication_failed = "authentication failed";

bool is_refused_login(const std::optional<retry::failure>& why) {
    return why && why->status == 401;
}

json::object json_of(const retry::failure& why, unsigned failures, std::optional<time_point> next_try,
                     time_point now) {
    return {{"class", retry::to_string(why.cls)},
            {"message", beginning(why.message)},
            {"status", status_or_null(why.status)},
            {"failures", failures},
            {"retry_in_ms", retry_in(next_try, now)}};
}

json::object json_of(const opencode::settlement& how) {
    json::object settled{{"outcome", to_string(how.outcome)},
                         {"rule", to_string(how.rule)},
                         {"limit", nullptr},
                         {"error", nullptr},
                         {"text_cut", how.text_dropped != 0}};
    if (how.limit != opencode::turn_limit::none)
        settled["limit"] = to_string(how.limit);
    if (how.error)
        settled["error"] = {{"class", how.error->cls},
                            {"name", beginning(how.error->name)},
                            {"message", beginning(how.error->message)},
                            {"status", status_or_null(how.error->status)}};
    return settled;
}

std::string words_of(const opencode::settlement& how) {
    std::string words(to_string(how.outcome));
    if (how.limit != opencode::turn_limit::none)
        words += ", a limit was passed: " + std::string(to_string(how.limit));
    if (how.error)
        words += ": " + (how.error->name.empty() ? "" : how.error->name + ": ") + how.error->message;
    else if (how.outcome != opencode::outcome::completed)
        words += " (" + std::string(to_string(how.rule)) + ")";
    return words;
}

bool is_grave(opencode::outcome how) {
    return how == opencode::outcome::failed || how == opencode::outcome::lost;
}

run_state state_after(opencode::outcome how) {
    switch (how) {
    case opencode::outcome::completed: return run_state::completed;
    case opencode::outcome::failed: return run_state::failed;
    case opencode::outcome::aborted: return run_state::aborted;
    case opencode::outcome::rejected: return run_state::rejected;
    case opencode::outcome::detached: return run_state::detached;
    case opencode::outcome::lost: break;
    }
    return run_state::lost;
}

std::string subject_of(const opencode::question_request& asked) {
    std::string all;
    for (const auto& each : asked.questions)
        all += (all.empty() ? "" : " ") + each.text;
    return all;
}

bool is_busy(const opencode::session_view& how) {
    return how.status && how.status->state != opencode::session_status::kind::idle;
}

// So many, in the order in which a person wants to hear of them.
int rank_of(run_state s) {
    switch (s) {
    case run_state::waiting: return 0;
    case run_state::working:
    case run_state::retrying: return 1;
    case run_state::failed:
    case run_state::lost: return 3;
    default: return 4;
    }
}

} // namespace

std::string_view to_string(run_state s) noexcept {
    switch (s) {
    case run_state::unknown: return "unknown";
    case run_state::idle: return "idle";
    case run_state::working: return "working";
    case run_state::retrying: return "retrying";
    case run_state::waiting: return "waiting";
    case run_state::completed: return "done";
    case run_state::failed: return "failed";
    case run_state::aborted: return "aborted";
    case run_state::rejected: return "rejected";
    case run_state::lost: return "lost";
    case run_state::detached: return "detached";
    case run_state::deleted: return "deleted";
    case run_state::archived: break;
    }
    return "archived";
}

retry::failure in_words(retry::failure why) {
    if (is_refused_login(why) && !why.message.starts_with(authentication_failed))
        why.message =
            std::string(authentication_failed) + ": the server rejected the user name or password (HTTP 401)";
    return why;
}

int rank_of(const board_row& row) {
    if (row.is_server)
        return row.trouble ? 0 : 5;
    return row.trouble ? std::min(2, rank_of(row.state)) : rank_of(row.state);
}

watch_board::watch_board(time_point now, wall_time wall) : begun_(now) {
    clocks_.push_back({now, wall});
    nowhere_.tag = "?";
}

void watch_board::see_clocks(time_point now, wall_time wall) {
    const auto& last = clocks_.back();
    const auto expected = last.wall + std::chrono::duration_cast<wall_time::duration>(now - last.now);
    if (now < last.now || (wall < expected + clocks_agree && expected < wall + clocks_agree))
        return;
    clocks_.push_back({now, wall});
    if (clocks_.size() > most_clocks)
        clocks_.pop_front();
    ++version_;
}

std::size_t watch_board::add_server(std::string where, std::string tag) {
    servers_.emplace_back();
    servers_.back().where = std::move(where);
    servers_.back().tag = std::move(tag);
    ++version_;
    return servers_.size() - 1;
}

watch_board::server& watch_board::at(std::optional<std::size_t> number) {
    return number ? servers_.at(*number) : nowhere_;
}

watch_board::run& watch_board::run_at(std::optional<std::size_t> server, const std::string& session,
                                      time_point now) {
    auto& where = at(server);
    const auto [found, is_new] = where.runs.try_emplace(session);
    auto& who = found->second;
    if (is_new) {
        where.order.push_back(session);
        who.where = &where;
        who.view.info.id = session;
        who.since = now;
    }
    return who;
}

// --- what is seen

void watch_board::see_server(std::size_t server, const server_sight& how, time_point now) {
    auto& where = at(server);
    const bool was_known = where.since.has_value();
    const bool was_in_trouble = where.sight.trouble.has_value();
    const bool was_refused = is_refused_login(where.sight.trouble);
    auto version = how.version.empty() ? where.sight.version : how.version;
    where.sight = how;
    where.sight.version = std::move(version);
    where.sight.next_try = foreseeable(how.next_try, now);
    if (how.trouble)
        where.sight.trouble = in_words(*how.trouble);
    ++version_;
    if (was_known && was_in_trouble == how.trouble.has_value() &&
        was_refused == is_refused_login(how.trouble))
        return;
    if (how.trouble || was_in_trouble)
        tell_trouble(where, now);
    if (!was_known || was_in_trouble != how.trouble.has_value())
        where.since = now;
}

void watch_board::see_streams(std::size_t server, std::size_t open) {
    at(server).streams = open;
}

void watch_board::see_left_out(std::size_t server, std::size_t sessions) {
    auto& where = at(server);
    version_ += where.left_out != sessions ? 1 : 0;
    where.left_out = sessions;
}

void watch_board::see_error(std::size_t server, const std::string& session, const opencode::api_error& what) {
    const auto& where = at(server);
    const auto words = beginning(what.name.empty() ? what.message : what.name + ": " + what.message);
    news_.push_back(
        {"error",
         {{"server", where.where},
          {"tag", where.tag},
          {"session", beginning_or_null(session)},
          {"name", beginning_or_null(what.name)},
          {"message", beginning(what.message)},
          {"status", status_or_null(what.status)}},
         (session.empty() ? where.tag : where.tag + ": " + beginning(session)) + ": error: " + words,
         true});
}

void watch_board::see(std::size_t server, const opencode::session_view& how, time_point now) {
    auto& where = at(server);
    const bool is_new = where.runs.find(how.info.id) == where.runs.end();
    auto& who = run_at(server, how.info.id, now);
    const auto& old = who.view;
    const bool same =
        !is_new && old.status == how.status && old.background == how.background &&
        old.waiting == how.waiting && old.streamed == how.streamed && old.captured == how.captured &&
        old.info.title == how.info.title && old.info.archived_ms == how.info.archived_ms &&
        old.failures == how.failures && old.next_try == foreseeable(how.next_try, now) &&
        old.trouble.has_value() == how.trouble.has_value() && (how.streamed || old.seen == how.seen);
    const bool was_busy = is_busy(old);
    who.view = how;
    who.view.next_try = foreseeable(how.next_try, now);
    if (how.trouble)
        who.view.trouble = in_words(*how.trouble);
    if (is_busy(how) && !was_busy) {
        who.busy_since = now;
        who.begun_told = false;
    }
    if (same)
        return;
    ++version_;
    if (is_new)
        tell("session", who, {}, "is watched");
    see_trouble(who, now);
}

// A server that is out of reach, or rejects our credentials, is told once, not for each of its sessions.
void watch_board::see_trouble(run& who, time_point now) {
    const auto& why = who.view.trouble;
    if (why && !who.in_trouble_since && !retry::blames_endpoint(*why) && !is_refused_login(why)) {
        who.in_trouble_since = now;
        tell("trouble", who, json_of(*why, who.view.failures, who.view.next_try, now), why->message, true);
    } else if (!why && who.in_trouble_since) {
        const auto lasted = now - *std::exchange(who.in_trouble_since, std::nullopt);
        tell("recovered", who, {{"after_ms", to_ms(lasted)}}, "recovered after " + seconds_of(lasted));
    }
}

void watch_board::miss(std::optional<std::size_t> server, const std::string& session, const server_sight& why,
                       time_point now) {
    auto& who = run_at(server, session, now);
    who.view.trouble = why.trouble;
    who.view.failures = why.failures;
    who.view.next_try = foreseeable(why.next_try, now);
    ++version_;
    see_trouble(who, now);
}

void watch_board::gone(std::size_t server, const std::string& session, time_point now) {
    auto& runs = at(server).runs;
    const auto known = runs.find(session);
    if (known == runs.end())
        return;
    auto& who = known->second;
    lose_turns(who, opencode::rule::session_deleted, now);
    who.gone_at = now;
    who.asks.clear();
    who.view.trouble.reset();
    ++version_;
    tell("session", who, {{"deleted", true}}, "was deleted");
}

void watch_board::moved(std::size_t server, const std::string& session, time_point now) {
    auto& runs = at(server).runs;
    const auto known = runs.find(session);
    if (known == runs.end())
        return;
    lose_turns(known->second, opencode::rule::unfinished, now);
    forget(server, session);
}

void watch_board::lose_turns(run& who, opencode::rule why, time_point now) {
    opencode::settlement lost;
    lost.outcome = opencode::outcome::lost;
    lost.rule = why;
    while (!who.turns.empty()) {
        const auto message = who.turns.front().message;
        settle(who, message, lost, now);
    }
}

void watch_board::forget(std::optional<std::size_t> server, const std::string& session) {
    auto& where = at(server);
    if (where.runs.erase(session) == 0)
        return;
    std::erase(where.order, session);
    ++version_;
}

void watch_board::pass(time_point now) {
    for (std::size_t i = 0; i < servers_.size(); ++i) {
        std::vector<std::string> over;
        for (auto& [id, who] : servers_[i].runs) {
            tell_silent_work(who, now);
            if (who.gone_at && now - *who.gone_at >= shown_deleted)
                over.push_back(id);
        }
        for (const auto& id : over)
            forget(i, id);
    }
}

// The words of a turn that began unheard come late, perhaps at its end; that something is at work is seen
// before.
void watch_board::tell_silent_work(run& who, time_point now) {
    if (!is_busy(who.view) || !who.turns.empty() || who.begun_told || !who.busy_since ||
        now - *who.busy_since < seconds(1))
        return;
    who.begun_told = true;
    tell("turn", who, {{"message", nullptr}}, "turn begun");
}

// --- what is heard

void watch_board::hear(std::size_t server, const opencode::session_event& what, time_point now) {
    auto& who = run_at(server, what.session, now);
    ++version_;
    if (const auto* how = std::get_if<opencode::settlement>(&what.event))
        return settle(who, what.message, *how, now);
    auto* const turn = what.message.empty() ? nullptr : &turn_at(who, what.message, now);
    if (const auto* e = std::get_if<opencode::permission_event>(&what.event))
        take_ask(who, {e->request.id, e->request.session_id, what_for(e->request), false, now, what.message},
                 e->reply);
    if (const auto* e = std::get_if<opencode::question_event>(&what.event))
        take_ask(who, {e->request.id, e->request.session_id, subject_of(e->request), true, now, what.message},
                 e->reply);
    if (turn)
        take(*turn, what.event, now);
}

watch_board::turn& watch_board::turn_at(run& who, const std::string& message, time_point now) {
    const auto known = std::find_if(who.turns.begin(), who.turns.end(),
                                    [&](const turn& each) { return each.message == message; });
    if (known != who.turns.end())
        return *known;
    auto& begun = who.turns.emplace_back();
    begun.message = message;
    begun.since =
        who.turns.size() == 1 ? who.busy_since.value_or(now) : now; // not every turn's words come at once
    if (!std::exchange(who.begun_told, false))
        tell("turn", who, {{"message", message}}, "turn begun");
    return who.turns.back();
}

void watch_board::take(turn& at, const opencode::agent_event& event, time_point now) {
    const auto stream = [&](const std::string& part, const std::string& delta, bool thinking) {
        if (part != at.part && !at.tail.empty())
            at.tail += ' ';
        if (thinking != at.thinking)
            at.tail.clear();
        at.part = part;
        at.thinking = thinking;
        constexpr auto most = tail_bytes + 4; // keep_end() cuts between two characters
        at.tail += delta.size() > most ? delta.substr(delta.size() - most) : delta;
        keep_end(at.tail);
        at.remark.clear();
        at.retrying = false;
    };
    struct visitor {
        const watch_board& board;
        turn& at;
        time_point now;
        decltype(stream)& streams;

        void operator()(const opencode::text_event& e) { streams(e.part, e.delta, false); }
        void operator()(const opencode::reasoning_event& e) { streams(e.part, e.delta, true); }
        void operator()(const opencode::tool_event& e) {
            std::erase_if(at.tools, [&](const auto& each) { return each.first == e.id; });
            at.remark.clear();
            at.retrying = false;
            if ((e.state == "pending" || e.state == "running") && at.tools.size() < most_tools)
                at.tools.emplace_back(e.id, beginning(e.title.empty() ? e.name : e.name + ": " + e.title));
        }
        void operator()(const opencode::permission_event&) {} // see hear()
        void operator()(const opencode::question_event&) {}
        void operator()(const opencode::retry_event& e) {
            at.retrying = true;
            at.remark = "the model's provider failed: " + beginning(e.message);
            const auto wall = board.wall_at(now);
            if (const auto wait = wait_of(e, wall); wait >= minutes(1))
                at.remark = "the server tries again at " + clock_after(wait, wall) + "; " + at.remark;
        }
        void operator()(const opencode::quiet_event& e) {
            if (at.retrying && e.status == "retry")
                return; // it was told when it ends
            at.remark = "quiet for " + seconds_of(e.lasted) + "; the server says " + e.status;
        }
        void operator()(const opencode::usage_event&) {}
        void operator()(const opencode::interrupted_event&) {} // the session's view tells it
        void operator()(const opencode::gap_event& e) {
            if (e.missing)
                at.remark = "some of its text was lost on the way";
        }
        void operator()(const opencode::settlement&) {}
    };
    std::visit(visitor{*this, at, now, stream}, event);
}

void watch_board::take_ask(run& who, ask asked, const std::optional<std::string>& reply) {
    json::object what{{"id", asked.id},
                      {"asker", asked.session},
                      {"kind", asked.question ? "question" : "permission"},
                      {"what", beginning(asked.what)},
                      {"reply", nullptr}};
    std::erase_if(who.asks, [&](const ask& each) { return each.id == asked.id; });
    if (reply) {
        what["reply"] = *reply;
        return tell("ask", who, std::move(what), beginning(asked.what) + ": " + *reply);
    }
    tell("ask", who, std::move(what), "asks: " + beginning(asked.what));
    if (who.asks.size() < most_asks)
        who.asks.push_back(std::move(asked));
}

void watch_board::settle(run& who, const std::string& message, const opencode::settlement& how,
                         time_point now) {
    const auto begun =
        turn_at(who, message, now).since; // tells the turn that nothing was heard of but its end
    const auto took = now - begun;
    std::erase_if(who.turns, [&](const turn& each) { return each.message == message; });
    if (who.turns.empty()) {
        std::erase_if(who.asks, [](const ask& each) { return !each.message.empty(); });
        who.busy_since.reset();
        who.begun_told = false;
    }
    who.last = settled{message, how, now, took};
    who.last->how.text.clear();
    ++turns_;
    completed_ += how.outcome == opencode::outcome::completed ? 1 : 0;
    auto what = json_of(how);
    what["message"] = message;
    what["took_ms"] = to_ms(took);
    tell("settled", who, std::move(what), words_of(how) + ", after " + seconds_of(took),
         is_grave(how.outcome));
}

// --- what is new

void watch_board::tell(std::string name, const run& who, json::object more, const std::string& words,
                       bool grave) {
    json::object what{{"server", who.where->where},
                      {"tag", who.where->tag},
                      {"session", who.id()},
                      {"title", beginning(who.view.info.title)}};
    for (auto& each : more)
        what[each.key()] = std::move(each.value());
    news_.push_back({std::move(name), std::move(what), name_of(who) + ": " + words, grave});
}

void watch_board::tell_trouble(const server& where, time_point now) {
    json::object what{{"server", where.where}, {"tag", where.tag}, {"session", nullptr}};
    const bool bad = where.sight.trouble.has_value();
    if (bad) {
        for (auto& each : json_of(*where.sight.trouble, where.sight.failures, where.sight.next_try, now))
            what[each.key()] = std::move(each.value());
        news_.push_back({"trouble", std::move(what), where.tag + ": " + where.sight.trouble->message, true});
    } else {
        const auto lasted = where.since ? now - *where.since : duration::zero();
        what["after_ms"] = to_ms(lasted);
        news_.push_back(
            {"recovered", std::move(what), where.tag + ": recovered after " + seconds_of(lasted), false});
    }
}

std::vector<watch_news> watch_board::take_news() {
    return std::exchange(news_, {});
}

std::string watch_board::name_of(const run& who) const {
    const auto& name = who.view.info.title.empty() ? who.id() : who.view.info.title;
    return servers_.size() > 1 ? who.where->tag + ": " + name : name;
}

// --- how it is

namespace {

template <class Run>
run_state state_of(const Run& who) {
    using kind = opencode::session_status::kind;
    if (who.gone_at)
        return run_state::deleted;
    if (is_refused_login(who.where->sight.trouble)) // nothing of what it was doing is known any more
        return who.last && who.turns.empty() ? state_after(who.last->how.outcome) : run_state::unknown;
    if (!who.asks.empty())
        return run_state::waiting;
    const bool told_retry = who.view.status && who.view.status->state == kind::retry;
    if (!who.turns.empty())
        return told_retry || who.turns.back().retrying ? run_state::retrying : run_state::working;
    if (is_busy(who.view))
        return told_retry ? run_state::retrying : run_state::working;
    if (who.view.info.archived_ms)
        return run_state::archived;
    if (who.last)
        return state_after(who.last->how.outcome);
    return who.view.status || who.view.seen ? run_state::idle : run_state::unknown;
}

/// "2 prompts wait".
std::string waiting_in(const opencode::session_view& view) {
    return std::to_string(view.waiting) + (view.waiting == 1 ? " prompt waits" : " prompts wait");
}

template <class Run>
std::string doing_now(const Run& who) {
    if (is_refused_login(who.where->sight.trouble))
        return who.where->sight.trouble->message;
    if (!who.asks.empty())
        return "asks: " + who.asks.front().what;
    if (!who.turns.empty()) {
        const auto& now = who.turns.back();
        if (!now.remark.empty())
            return now.remark;
        if (!now.tools.empty())
            return now.tools.back().second;
        return now.thinking && !now.tail.empty() ? "thinks: " + now.tail : now.tail;
    }
    if (who.view.background != 0 && !who.gone_at)
        return "in the background: " + std::to_string(who.view.background) +
               (who.view.background == 1 ? " child session at work" : " child sessions at work");
    if (who.last && who.last->how.outcome != opencode::outcome::completed && !who.gone_at) {
        const auto& error = who.last->how.error;
        if (who.last->how.limit != opencode::turn_limit::none)
            return "passed its limit: " + std::string(to_string(who.last->how.limit));
        return error ? (error->name.empty() ? error->message : error->name + ": " + error->message)
                     : std::string(to_string(who.last->how.rule));
    }
    return {};
}

template <class Run>
std::string doing_of(const Run& who) {
    auto now = doing_now(who);
    if (who.view.waiting == 0 || who.gone_at)
        return now;
    return waiting_in(who.view) + (now.empty() ? "" : ": " + now);
}

template <class Run>
time_point since_of(const Run& who) {
    if (who.gone_at)
        return *who.gone_at;
    if (!who.asks.empty())
        return who.asks.front().since;
    if (!who.turns.empty())
        return who.turns.back().since;
    if (is_busy(who.view) && who.busy_since)
        return *who.busy_since;
    return who.last ? who.last->at : who.since;
}

} // namespace

board_row watch_board::row_of(const run& who) const {
    board_row row;
    row.server = who.where->tag;
    row.name = who.view.info.title.empty() ? who.id() : who.view.info.title;
    row.state = state_of(who);
    row.doing = doing_of(who);
    row.ends = !who.turns.empty() && row.doing == who.turns.back().tail && !row.doing.empty();
    row.asks = who.asks.size();
    if (who.view.trouble)
        row.trouble = trouble_of(*who.view.trouble, who.view.failures, who.view.next_try);
    // Where the server itself is out of reach, whoever tries it first tries it for all.
    const auto& server = who.where->sight;
    if (row.trouble && retry::blames_endpoint(*who.view.trouble) && server.trouble)
        row.trouble = trouble_of(*server.trouble, server.failures, server.next_try);
    if (is_refused_login(server.trouble))
        row.trouble = trouble_of(*server.trouble, server.failures, server.next_try);
    row.streamed = who.view.streamed;
    row.captured = who.view.captured;
    row.seen = who.view.seen;
    row.since = since_of(who);
    return row;
}

template <class Take>
void watch_board::each_server(Take take) const {
    for (const auto& each : servers_)
        take(each);
    take(nowhere_);
}

std::vector<board_row> watch_board::rows() const {
    std::vector<board_row> all;
    each_server([&](const server& where) {
        const bool is_real = &where != &nowhere_;
        if (is_real && (where.sight.trouble || where.runs.empty())) {
            board_row row;
            row.is_server = true;
            row.name = where.tag;
            row.state = where.since && !where.sight.trouble ? run_state::idle : run_state::unknown;
            if (where.sight.trouble) {
                row.trouble = trouble_of(*where.sight.trouble, where.sight.failures, where.sight.next_try);
                row.doing = where.sight.trouble->message;
            } else {
                row.doing = where.since ? "no sessions" : "";
            }
            row.since = where.since;
            all.push_back(std::move(row));
        }
        for (const auto& id : where.order)
            all.push_back(row_of(where.runs.at(id)));
    });
    return all;
}

board_totals watch_board::totals() const {
    board_totals all;
    all.servers = servers_.size();
    all.turns = turns_;
    all.completed = completed_;
    each_server([&](const server& where) {
        all.servers_in_trouble += where.sight.trouble ? 1 : 0;
        all.left_out += where.left_out;
        for (const auto& [id, who] : where.runs) {
            const auto state = state_of(who);
            ++all.runs;
            all.waiting += state == run_state::waiting ? 1 : 0;
            all.working += state == run_state::working || state == run_state::retrying;
            all.in_trouble += who.view.trouble ? 1 : 0;
            all.asks += who.asks.size();
        }
    });
    return all;
}

// --- for programs

wall_time watch_board::wall_at(time_point when) const {
    auto reading = clocks_.rbegin();
    while (std::next(reading) != clocks_.rend() && reading->now > when)
        ++reading;
    return reading->wall + std::chrono::duration_cast<wall_time::duration>(when - reading->now);
}

std::string watch_board::date(time_point when) const {
    const auto wall = wall_at(when);
    const auto ms = std::chrono::floor<milliseconds>(wall.time_since_epoch()).count();
    const auto whole = static_cast<std::time_t>(ms / 1000);
    std::tm parts{};
    ::gmtime_r(&whole, &parts);
    char text[32];
    const auto length = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
    char fraction[8];
    std::snprintf(fraction, sizeof fraction, ".%03dZ", static_cast<int>(ms % 1000));
    return std::string(text, length) + fraction;
}

json::object watch_board::status_of(const run& who, time_point now) const {
    json::object all{{"id", who.id()},
                     {"title", beginning(who.view.info.title)},
                     {"tag", who.where->tag},
                     {"server", who.where->where},
                     {"directory", beginning(who.view.info.directory)},
                     {"state", to_string(state_of(who))},
                     {"since", date(since_of(who))},
                     {"background", who.view.background},
                     {"waiting", who.view.waiting},
                     {"archived", who.view.info.archived_ms.has_value()},
                     {"streamed", who.view.streamed},
                     {"captured", who.view.captured},
                     {"seen_ms_ago", nullptr},
                     {"seen_at", nullptr},
                     {"turn", nullptr},
                     {"last", nullptr},
                     {"trouble", nullptr}};
    if (who.view.seen) {
        all["seen_ms_ago"] = to_ms(now - *who.view.seen); // without the time for which the machine slept
        all["seen_at"] = date(*who.view.seen);
    }
    if (!who.turns.empty()) {
        const auto& turn = who.turns.back();
        json::object told{{"message", turn.message},
                          {"since", date(turn.since)},
                          {"text", turn.tail},
                          {"tool", nullptr},
                          {"remark", beginning_or_null(turn.remark)}};
        if (!turn.tools.empty())
            told["tool"] = turn.tools.back().second;
        all["turn"] = std::move(told);
    }
    json::array asks;
    for (const auto& each : who.asks)
        asks.push_back({{"id", each.id},
                        {"asker", each.session},
                        {"kind", each.question ? "question" : "permission"},
                        {"what", beginning(each.what)},
                        {"since", date(each.since)}});
    all["asks"] = std::move(asks);
    if (who.last) {
        auto told = json_of(who.last->how);
        told["message"] = who.last->message;
        told["at"] = date(who.last->at);
        told["took_ms"] = to_ms(who.last->took);
        all["last"] = std::move(told);
    }
    if (who.view.trouble)
        all["trouble"] = json_of(*who.view.trouble, who.view.failures, who.view.next_try, now);
    return all;
}

json::object watch_board::status_of(const server& where, time_point now) const {
    const bool bad = where.sight.trouble.has_value();
    json::object all{{"url", where.where},
                     {"tag", where.tag},
                     {"version", beginning_or_null(where.sight.version)},
                     {"state", bad           ? "trouble"
                               : where.since ? "up"
                                             : "unknown"},
                     {"since", nullptr},
                     {"streams", where.streams},
                     {"sessions", where.runs.size()},
                     {"sessions_left_out", where.left_out},
                     {"trouble", nullptr}};
    if (where.since)
        all["since"] = date(*where.since);
    if (bad)
        all["trouble"] = json_of(*where.sight.trouble, where.sight.failures, where.sight.next_try, now);
    return all;
}

json::object watch_board::status(time_point now, std::size_t most) const {
    std::vector<std::pair<int, const run*>> runs;
    json::array servers;
    each_server([&](const server& where) {
        if (&where != &nowhere_)
            servers.push_back(status_of(where, now));
        for (const auto& id : where.order)
            runs.emplace_back(rank_of(row_of(where.runs.at(id))), &where.runs.at(id));
    });
    if (runs.size() > most)
        std::stable_sort(runs.begin(), runs.end(),
                         [](const auto& a, const auto& b) { return a.first < b.first; });
    json::array sessions;
    for (const auto& [rank, who] : runs)
        if (sessions.size() < most)
            sessions.push_back(status_of(*who, now));
    const auto sum = totals();
    return {{"since", date(begun_)},
            {"now", date(now)},
            {"totals",
             {{"servers", sum.servers},
              {"servers_in_trouble", sum.servers_in_trouble},
              {"sessions", sum.runs},
              {"sessions_told", sessions.size()},
              {"sessions_left_out", sum.left_out},
              {"working", sum.working},
              {"waiting", sum.waiting},
              {"in_trouble", sum.in_trouble},
              {"asks", sum.asks},
              {"turns_settled", sum.turns},
              {"turns_completed", sum.completed}}},
            {"servers", std::move(servers)},
            {"sessions", std::move(sessions)}};
}

} // namespace holdfast::app
