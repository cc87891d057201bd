// A session of a 2.x server: its tracker, and the calls. Not for users.
#pragma once

#include <holdfast/opencode/protocol/session_protocol.hpp>
#include <holdfast/opencode/protocol/v2/client.hpp>
#include <holdfast/opencode/protocol/v2/turn_tracker.hpp>

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace holdfast::opencode::v2 {

class session final : public detail::session_protocol {
public:
    session(detail::session_host& host, const dialect& spoken);

    [[nodiscard]] detail::abilities can() const noexcept override;

    void open(const std::string& message, time_point) override { take(tracker_.open(message)); }
    void posted(const std::string& message, time_point now, bool) override {
        take(tracker_.posted(message, now));
    }
    void adopt(const std::string& message, time_point now) override { take(tracker_.adopt(message, now)); }
    void close(const std::string& message, settlement how, time_point now) override;
    void abort_requested(time_point now) override;
    void abort_accepted(time_point now) override { take(tracker_.abort_accepted(now)); }
    void follow() override { take(tracker_.follow(host_.world().now())); }
    void moved() override {} // its stream tells of all directories

    void attached(time_point now) override;
    void interrupted(const failure& why, unsigned next_attempt, duration retry_in, time_point now) override;
    void broken_off(const failure& why, time_point now) override;
    [[nodiscard]] detail::heard hear(std::string_view data, time_point now) override;
    [[nodiscard]] detail::heard hear(std::shared_ptr<void> prepared, time_point now) override;
    void tick(time_point now) override { take(tracker_.tick(now)); }

    [[nodiscard]] mark begin_snapshot() const override;
    [[nodiscard]] net::awaitable<result<std::shared_ptr<detail::sight>>> fetch_snapshot() override;
    [[nodiscard]] net::awaitable<result<std::shared_ptr<detail::sight>>>
    glance(std::shared_ptr<const detail::directory_view> seen) override;
    [[nodiscard]] bool merge(detail::sight& seen, mark taken, bool by_capture, time_point now) override;
    void snapshot_failed(time_point now) override { take(tracker_.snapshot_failed(now)); }

    void name(opencode::prompt& what, std::optional<wall_time> server_time) override;
    [[nodiscard]] net::awaitable<result<void>> learn_newest() override;
    [[nodiscard]] net::awaitable<result<void>> is_there(std::string message) override;
    [[nodiscard]] std::optional<failure> why_not(const opencode::prompt& what) const override;
    [[nodiscard]] net::awaitable<result<void>> post(opencode::prompt what) override;
    [[nodiscard]] net::awaitable<result<void>> store(opencode::prompt what) override;
    [[nodiscard]] net::awaitable<result<void>> run_command(opencode::prompt what) override;
    [[nodiscard]] net::awaitable<result<void>> abort() override;
    [[nodiscard]] net::awaitable<result<void>> cancel_queued(std::string message) override;
    [[nodiscard]] net::awaitable<result<void>> reply_permission(std::string id, std::string reply) override;
    [[nodiscard]] net::awaitable<result<void>>
    reply_question(std::string id, std::vector<std::vector<std::string>> answers) override;
    [[nodiscard]] net::awaitable<result<void>> reject_question(std::string id) override;
    [[nodiscard]] net::awaitable<std::optional<settlement_error>>
    explain_ending(opencode::client server) override;

    [[nodiscard]] std::vector<ledger::deliver> told_so_far() const override { return tracker_.told_so_far(); }
    [[nodiscard]] bool has_open_turns() const override { return tracker_.has_open_turns(); }
    [[nodiscard]] bool is_open(const std::string& message) const override {
        return tracker_.is_open(message);
    }
    [[nodiscard]] bool knows_history() const override { return tracker_.knows_history(); }
    [[nodiscard]] std::size_t background() const override { return tracker_.background(); }
    [[nodiscard]] std::size_t waiting() const override { return tracker_.waiting(); }
    [[nodiscard]] std::optional<session_status> status() const override { return tracker_.status(); }
    [[nodiscard]] std::optional<unsigned> depth_of(std::string_view id) const override {
        return tracker_.depth_of(id);
    }

private:
    struct sight; ///< a snapshot
    using seen_ptr = std::shared_ptr<detail::sight>;

    [[nodiscard]] const std::string& id() const noexcept { return host_.info().id; }
    [[nodiscard]] client calls() const { return {host_.rest(), spoken_}; }
    [[nodiscard]] detail::heard take_in(result<event> told, time_point now);
    void note_ask(const std::string& request, const std::string& session);
    void note_form(const form& asked);
    [[nodiscard]] std::string asker_of(const std::string& request) const;
    [[nodiscard]] net::awaitable<result<void>> send(opencode::prompt what, bool resume);

    detail::session_host& host_;
    const dialect& spoken_;
    turn_tracker tracker_;
    std::map<std::string, std::string> askers_; ///< the session of each permission that was asked for
    std::map<std::string, form> forms_;
    bool broke_ = true; ///< children may have been made that nobody heard of
};

} // namespace holdfast::opencode::v2
