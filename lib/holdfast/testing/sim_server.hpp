// The process of a simulated server: its connections, their faults, the event streams, and which protocol it
// speaks. Not for users.
#pragma once

#include <holdfast/testing/opencode_sim.hpp>
#include <holdfast/testing/sim2_rest.hpp>
#include <holdfast/testing/sim_engine.hpp>
#include <holdfast/testing/sim_fault.hpp>
#include <holdfast/testing/sim_http.hpp>
#include <holdfast/testing/sim_rest.hpp>

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace holdfast::testing {

class opencode_sim::impl {
public:
    explicit impl(options settings)
        : settings_(std::move(settings)), faults_(settings_.faults),
          engine_(settings_, line_, [this](const detail::sim_event& e) { publish(e); }),
          rest_(settings_, engine_),
          model2_(settings_, line_, [this](const detail::sim_event& e) { publish_2(e); }),
          rest2_(settings_, model2_) {
        model2_.speak(settings_.version);
    }

    connection_id accept(time_point now) {
        advance(now);
        connection c;
        c.id = ++last_id_;
        ++counters_.connections;
        const auto id = c.id;
        connections_.emplace(id, std::move(c));
        if (!listening() && !frozen_)
            reset(id);
        return id;
    }

    void receive(connection_id id, std::string_view bytes, time_point now) {
        advance(now);
        connection* c = find(id);
        if (!c || c->dead)
            return;
        if (hangs()) {
            c->dead = true; // what is sent into the start-up trap is never answered
            return;
        }
        c->reader.put(bytes);
        if (frozen_)
            return;
        serve(id);
        advance(now); // what is due at once, the next pipelined request first of all
    }

    void closed(connection_id id, time_point now) {
        advance(now);
        if (!frozen_ || !find(id))
            forget(id);
        else
            find(id)->gone = true;
    }

    void advance(time_point now) {
        if (!begun_) {
            begun_ = true;
            line_.now(now);
            engine_.origin(now);
            model2_.origin(now);
        }
        if (frozen_)
            return;
        while (line_.next() && *line_.next() <= now)
            line_.run_one();
        if (now > line_.now())
            line_.now(now);
    }

    std::optional<time_point> next_wakeup() const { return frozen_ ? std::nullopt : line_.next(); }

    std::vector<output> take_output() { return std::exchange(outputs_, {}); }

    bool listening() const { return up_ && refusing_ == 0; }

    void kill(time_point now) {
        frozen_ = false;
        advance(now);
        while (!connections_.empty())
            reset(connections_.begin()->first);
        engine_.kill();
        model2_.kill();
        line_.clear();
        starting_ = false;
        up_ = false;
        refusing_ = 0;
        hanging_for_start_ = false;
    }

    void start(time_point now) {
        advance(now);
        start_process();
    }

    /// What is written on the way out reaches nobody.
    void terminate(time_point now) {
        frozen_ = false;
        advance(now);
        for (const auto id : ids(is_stream))
            close(id);
        model2_.terminate();
        kill(now);
    }

    void restart(time_point now, stop how) {
        if (how == stop::terminate)
            terminate(now);
        else
            kill(now);
        ++counters_.restarts;
        line_.after(settings_.restart_down, [this] { start_process(); });
    }

    void set_hang(bool on) { hang_ = on; }

    void set_frozen(bool on, time_point now) {
        advance(now);
        frozen_ = on;
        if (on)
            return;
        advance(now);
        for (const auto id : ids([](const connection&) { return true; })) {
            serve(id);
            if (const connection* c = find(id); c && c->gone)
                forget(id);
        }
    }

    void set_mute(bool on) { mute_ = on; }

    void cut_streams(time_point now) {
        advance(now);
        for (const auto id : ids(is_stream))
            close(id);
    }

    void end_streams(time_point now) {
        advance(now);
        for (const auto id : ids(is_stream))
            drop_reader(id);
    }

    void upgrade(int protocol, std::string version) {
        next_.protocol = protocol;
        next_.version = std::move(version);
    }

    void stall_streams() {
        for (const auto id : ids(is_stream))
            find(id)->stalled = true;
    }

    void refuse(duration d, time_point now) {
        advance(now);
        refuse_for(d);
    }

    void dispose(const std::string& directory, time_point now) {
        advance(now);
        dispose_instance(directory);
    }

    void move_session(const std::string& id, const std::string& directory) {
        if (auto* moved = engine_.find(id)) {
            moved->info["directory"] = directory;
            moved->directory = directory;
        }
        if (auto* moved = model2_.find(id))
            moved->directory = directory;
    }

    void archive_session(const std::string& id) {
        if (auto* archived = engine_.find(id))
            archived->info["time"].as_object()["archived"] = engine_.wall_ms();
        if (auto* archived = model2_.find(id))
            archived->archived = model2_.wall_ms();
    }

    void set_password(std::string password) { settings_.password = std::move(password); }
    void inject(fault f) {
        faults_.push_back(f);
        if (!detail::has_offset(f))
            return;
        for (auto& [id, c] : connections_)
            if (c.stream && !c.trouble)
                c.trouble = take_stream_fault();
    }

    void clear_faults() {
        faults_.clear();
        for (auto& [id, c] : connections_)
            c.trouble.reset();
    }

    void on_event(std::function<void(std::string_view, std::string_view)> tap) { tap_ = std::move(tap); }

    /// Of all that it was: before an upgrade, too.
    std::vector<turn_truth> truth() {
        auto all = engine_.truth();
        for (auto& t : model2_.truth())
            all.push_back(std::move(t));
        return all;
    }

    counters stats() const {
        auto out = counters_;
        out.open_connections = connections_.size();
        out.open_streams = static_cast<std::size_t>(std::count_if(
            connections_.begin(), connections_.end(), [](const auto& c) { return c.second.stream; }));
        return out;
    }

private:
    struct connection {
        connection_id id = 0;
        detail::http_reader reader;
        bool waiting = false; // a request is being answered; the next ones wait
        bool keep_alive = true;
        bool dead = false; // accepted, never answered
        bool gone = false; // the client left while the process stood still
        bool stream = false;
        bool global = false;
        bool is_2 = false;
        bool api = false; // the experimental stream, which ends by itself when a turn begins
        bool chunked = true;
        bool stalled = false;
        bool muted = false;
        std::string directory;
        std::uint64_t sent = 0; // body bytes of the stream
        std::optional<fault> trouble;
    };

    static bool is_stream(const connection& c) { return c.stream; }

    connection* find(connection_id id) {
        const auto found = connections_.find(id);
        return found == connections_.end() ? nullptr : &found->second;
    }

    template <class Which>
    std::vector<connection_id> ids(Which which) const {
        std::vector<connection_id> out;
        for (const auto& [id, c] : connections_)
            if (which(c))
                out.push_back(id);
        return out;
    }

    // Output.

    void send(connection_id id, std::string_view bytes) {
        if (!outputs_.empty() && outputs_.back().id == id && !outputs_.back().close && !outputs_.back().reset)
            outputs_.back().bytes.append(bytes);
        else
            outputs_.push_back(output{id, std::string(bytes), false, false});
    }

    void close(connection_id id) {
        send(id, {});
        outputs_.back().close = true;
        forget(id);
    }

    void reset(connection_id id) {
        outputs_.push_back(output{id, {}, false, true});
        forget(id);
    }

    void forget(connection_id id) { connections_.erase(id); }

    // The process.

    bool hangs() const { return hang_ || hanging_for_start_; }
    bool is_2() const { return settings_.protocol == 2; }

    void start_process() {
        up_ = true;
        become_next();
        hanging_for_start_ = settings_.startup_hang > duration::zero();
        if (hanging_for_start_)
            line_.after(settings_.startup_hang, [this] { hanging_for_start_ = false; });
        if (!is_2())
            return;
        model2_.start();
        starting_ = true;
        line_.after(settings_.startup_hang + settings_.starting, [this] { starting_ = false; });
    }

    /// Another program was installed meanwhile.
    void become_next() {
        if (next_.version.empty())
            return;
        settings_.protocol = next_.protocol;
        settings_.version = std::exchange(next_.version, {});
        model2_.speak(settings_.version);
    }

    void refuse_for(duration d) {
        ++refusing_;
        line_.after(d, [this] { --refusing_; });
    }

    void dispose_instance(const std::string& directory) {
        engine_.dispose(directory);
        for (const auto id :
             ids([&](const connection& c) { return c.stream && !c.global && c.directory == directory; }))
            end_stream(id);
    }

    void dispose_all(std::set<std::string> directories) {
        directories.merge(engine_.instances());
        for (const auto& [id, c] : connections_)
            if (c.stream && !c.global)
                directories.insert(c.directory);
        for (const auto& s : engine_.sessions())
            if (!s->status.empty())
                directories.insert(s->directory);
        for (const auto& directory : directories)
            dispose_instance(directory);
        engine_.emit_server("global", "global.disposed", {});
    }

    // Faults.

    std::optional<fault> take_stream_fault() { return detail::take_fault(faults_, detail::befalls_a_stream); }

    std::optional<fault> take_fault(fault::kind what) {
        return detail::take_fault(faults_, [what](const fault& f) { return f.what == what; });
    }

    // Requests.

    void serve(connection_id id) {
        for (connection* c = find(id); c && !c->waiting && !c->stream && !c->dead; c = find(id)) {
            auto request = c->reader.next();
            if (c->reader.wants_continue())
                send(id, "HTTP/1.1 100 Continue\r\n\r\n");
            if (!request) {
                if (c->reader.broken()) {
                    send(id, detail::http_response(400, {}, {}, {}, false));
                    close(id);
                }
                return;
            }
            ++counters_.requests;
            c->waiting = true;
            c->keep_alive = request->keep_alive;
            answer(id, std::move(*request));
        }
    }

    /// What is answered before anything else is looked at.
    std::optional<detail::rest_response> refusal(const detail::http_request& request) const {
        if (!is_2())
            return rest_.check_credentials(request);
        if (auto page = rest2_.before_credentials(request))
            return page;
        if (starting_)
            return rest2_.starting(request);
        return rest2_.check_credentials(request);
    }

    void answer(connection_id id, detail::http_request request) {
        if (const auto refused = refusal(request)) {
            respond(id, *refused);
            return;
        }
        if (request.method == "GET" && is_stream_path(request.path)) {
            open_stream(id, request);
            return;
        }
        if (const auto f = take_fault(fault::kind::api_status)) {
            respond(id, detail::rest_fault(f->status));
            return;
        }
        if (take_fault(fault::kind::web_page)) {
            respond(id, detail::rest_web_page());
            return;
        }
        const bool drops = request.method == "POST" &&
                           request.path.ends_with(is_2() ? "/prompt" : "/prompt_async") &&
                           take_fault(fault::kind::drop_answer);
        const auto respond = [this, id, drops](const detail::rest_response& response) {
            if (drops && find(id))
                close(id);
            else
                respond_harmed(id, response);
        };
        if (is_2())
            rest2_.handle(request, respond);
        else
            answer_1(id, request, respond);
    }

    void answer_1(connection_id id, const detail::http_request& request, const detail::rest::reply& done) {
        if (request.method == "POST" && request.path == "/instance/dispose") {
            dispose_instance(rest_.directory_of(request));
            respond(id, detail::rest_true());
        } else if (request.path == "/global/dispose" ||
                   (request.method == "PATCH" && request.path == "/config")) {
            // A change of the configuration disposes its own instance, and then all.
            std::set<std::string> besides;
            if (request.method == "PATCH")
                besides.insert(rest_.directory_of(request));
            for (const auto& directory : besides)
                dispose_instance(directory);
            dispose_all(std::move(besides));
            respond(id, detail::rest_true());
        } else {
            rest_.handle(request, done);
        }
    }

    /// Where a fault says so; else as it is.
    void respond_harmed(connection_id id, detail::rest_response response) {
        if (response.body.empty() || response.content_type != "application/json" || !find(id)) {
            respond(id, response);
        } else if (take_fault(fault::kind::cut_answer)) {
            const auto whole = detail::http_response(response.status, response.content_type, response.body,
                                                     response.headers, find(id)->keep_alive);
            send(id, std::string_view(whole).substr(0, whole.size() - (response.body.size() + 1) / 2));
            close(id);
        } else {
            if (take_fault(fault::kind::bad_json))
                response.body = "{\"unfinished\": ";
            else if (take_fault(fault::kind::odd_json))
                response.body = detail::of_another_shape(response.body);
            respond(id, response);
        }
    }

    void respond(connection_id id, const detail::rest_response& response) {
        connection* c = find(id);
        if (!c)
            return; // the client left
        auto headers = response.headers;
        headers.emplace_back("Date", detail::http_date(engine_.wall_ms()));
        send(id, detail::http_response(response.status, response.content_type, response.body, headers,
                                       c->keep_alive));
        c->waiting = false;
        if (!c->keep_alive) {
            close(id);
            return;
        }
        // From the list, since a response may come from inside serve().
        line_.after(duration::zero(), [this, id] { serve(id); });
    }

    // Event streams.

    void open_stream(connection_id id, const detail::http_request& request) {
        connection& c = *find(id);
        ++counters_.stream_requests;
        auto trouble = take_stream_fault();
        if (trouble && trouble->what == fault::kind::hang) {
            c.dead = true;
            return;
        }
        if (trouble && trouble->what == fault::kind::status) {
            respond(id, detail::rest_fault(trouble->status));
            return;
        }
        engine_.catch_up();
        model2_.catch_up();
        c.stream = true;
        c.global = request.path == "/global/event";
        c.api = request.path == "/api/event";
        c.is_2 = is_2();
        c.chunked = !request.http_1_0;
        c.directory = rest_.directory_of(request);
        send(id, detail::http_stream_head(c.chunked));
        if (trouble && trouble->what == fault::kind::early_end) {
            end_stream(id);
            return;
        }
        c.trouble = trouble;
        greet(id, "server.connected");
        if (find(id) && c.is_2)
            greet(id, "server.heartbeat");
        plan_heartbeat(id);
    }

    bool is_stream_path(std::string_view path) const {
        if (is_2())
            return path == "/api/event";
        return path == "/event" || path == "/global/event" || path == "/api/event";
    }

    /// What belongs to the stream itself.
    void greet(connection_id id, std::string_view type) {
        const connection& c = *find(id);
        if (c.is_2 && type != "server.heartbeat") {
            write_event(id, model2_.event(type));
            return;
        }
        const auto payload = engine_.event(type, {});
        if (c.global)
            write_event(id, "{\"payload\":" + payload + "}");
        else if (!c.api)
            write_event(id, payload);
        else if (type == "server.heartbeat")
            write(id, ": heartbeat\n\n");
        else
            write_event(id, detail::api_event({{}, payload, {}}));
    }

    void plan_heartbeat(connection_id id) {
        const auto planned = later(line_.now(), is_2() ? settings_.heartbeat_2 : settings_.heartbeat);
        line_.at(later(planned, engine_.heartbeat_delay()), [this, id] {
            if (!find(id))
                return;
            greet(id, "server.heartbeat");
            plan_heartbeat(id);
        });
    }

    void publish(const detail::sim_event& e) {
        if (tap_)
            tap_(e.directory, e.payload);
        if (mute_)
            return;
        for (const auto id : ids(is_stream)) {
            const connection* c = find(id);
            if (!c || c->muted || (!c->global && !c->api && c->directory != e.directory))
                continue;
            if (c->api) {
                publish_on_api(id, e);
                continue;
            }
            if (!c->global) {
                write_event(id, e.payload);
                continue;
            }
            write_event(id, detail::global_event(e, e.payload));
            if (!e.sync.empty())
                write_event(id, detail::global_event(e, e.sync));
        }
    }

    /// Everything of the process, to everybody.
    void publish_2(const detail::sim_event& e) {
        if (tap_)
            tap_(e.directory, e.payload);
        for (const auto id : ids(is_stream))
            if (const connection* c = find(id); c && c->is_2 && !c->muted && !mute_)
                write_event(id, e.payload);
    }

    /// The real one ends between a prompt's session.updated and the first session.status.
    void publish_on_api(connection_id id, const detail::sim_event& e) {
        if (detail::json::parse(e.payload).at("type") == "session.status")
            end_stream(id);
        else
            write_event(id, detail::api_event(e));
    }

    void write_event(connection_id id, const std::string& json) { write(id, "data: " + json + "\n\n"); }

    void write(connection_id id, const std::string& body) {
        connection* c = find(id);
        if (!c || c->stalled)
            return;
        const auto before = c->sent;
        if (c->trouble && before + body.size() >= c->trouble->after) {
            const auto part = static_cast<std::size_t>(std::max(c->trouble->after, before) - before);
            send_body(*c, body, part);
            strike(id);
            return;
        }
        send_body(*c, body, body.size());
    }

    /// One chunk a body, or the first bytes of it.
    void send_body(connection& c, const std::string& body, std::size_t size) {
        if (c.chunked && size > 0)
            send(c.id, detail::http_chunk_head(body.size()));
        send(c.id, std::string_view(body).substr(0, size));
        if (c.chunked && size == body.size())
            send(c.id, "\r\n");
        c.sent += size;
        count(size);
    }

    /// Adds to what all streams have sent, and restarts the process when a fault asks for it there.
    void count(std::size_t size) {
        counters_.stream_bytes += size;
        const auto reached = detail::take_fault(faults_, [this](const fault& f) {
            const bool stops = f.what == fault::kind::restart || f.what == fault::kind::terminate;
            return stops && counters_.stream_bytes >= f.after;
        });
        // Not from inside the story that is being told.
        if (reached)
            line_.after(duration::zero(), [this, how = reached->what] {
                restart(line_.now(), how == fault::kind::terminate ? stop::terminate : stop::kill);
            });
    }

    void strike(connection_id id) {
        connection& c = *find(id);
        const fault f = *std::exchange(c.trouble, std::nullopt);
        switch (f.what) {
        case fault::kind::reset: flush_then_reset(id); break;
        case fault::kind::stall: c.stalled = true; break;
        case fault::kind::mute: c.muted = true; break;
        case fault::kind::drop: drop_reader(id); break;
        case fault::kind::garbage:
            send(id, "\r\n<<< this is no chunk >>>\r\n");
            close(id);
            break;
        case fault::kind::refuse:
            refuse_for(f.for_);
            close(id);
            break;
        default: close(id); break;
        }
    }

    /// So that the bytes before the reset are delivered: a reset of its own drops what is not sent yet.
    void flush_then_reset(connection_id id) {
        find(id)->stalled = true;
        line_.after(milliseconds(1), [this, id] {
            if (find(id))
                reset(id);
        });
    }

    void end_stream(connection_id id) {
        const connection* c = find(id);
        if (!c || c->stalled)
            return;
        if (c->chunked)
            send(id, "0\r\n\r\n");
        close(id);
    }

    /// A reader that is too slow gets the last chunk and nothing more; its connection stays.
    void drop_reader(connection_id id) {
        connection& c = *find(id);
        if (!c.chunked) {
            close(id);
            return;
        }
        if (!c.stalled)
            send(id, "0\r\n\r\n");
        c.stalled = true;
    }

    options settings_;
    options next_; // its protocol and version alone
    std::vector<fault> faults_;
    detail::timeline line_;
    std::map<connection_id, connection> connections_;
    detail::engine engine_; // after what its events reach
    detail::rest rest_;
    detail::sim2::model model2_;
    detail::sim2::rest rest2_;
    std::function<void(std::string_view, std::string_view)> tap_;
    std::vector<output> outputs_;
    counters counters_;
    connection_id last_id_ = 0;
    int refusing_ = 0;
    bool begun_ = false;
    bool up_ = true;
    bool hang_ = false;
    bool hanging_for_start_ = false;
    bool starting_ = false;
    bool frozen_ = false;
    bool mute_ = false;
};

} // namespace holdfast::testing
