// A session of a 1.x server: the ledger's tracker, and the calls. Not for users.
#pragma once

#include <holdfast/opencode/event.hpp>
#include <holdfast/opencode/ledger/turn_tracker.hpp>
#include <holdfast/opencode/protocol/session_protocol.hpp>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace holdfast::opencode::v1 {

class session final : public detail::session_protocol {
public:
    explicit session(detail::session_host& host);

    [[nodiscard]] detail::abilities can() const noexcept override;

    void open(const std::string& message, time_point now) override { take(tracker_.open(message, now)); }
    void posted(const std::string& message, time_point now, bool once) override {
        take(tracker_.posted(message, now, once));
    }
    void adopt(const std::string& message, time_point now) override { take(tracker_.adopt(message, now)); }
    void close(const std::string& message, settlement how, time_point now) override;
    void abort_requested(time_point now) override { take(tracker_.abort_requested(now)); }
    void abort_accepted(time_point) override { take(tracker_.abort_accepted()); }
    void follow() override { take(tracker_.follow()); }
    void moved() override { take(tracker_.moved()); }

    void attached(time_point now) override;
    void interrupted(const failure& why, unsigned next_attempt, duration retry_in, time_point now) override {
        take(tracker_.interrupted(why, next_attempt, retry_in, now));
    }
    void broken_off(const failure& why, time_point now) override { take(tracker_.broken_off(why, now)); }
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
    void is_newest(const std::string& message) override { newest_ = message; }
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
    [[nodiscard]] net::awaitable<std::optional<settlement_error>> explain_ending(client server) override;

    [[nodiscard]] std::vector<ledger::deliver> told_so_far() const override;
    [[nodiscard]] bool has_open_turns() const override { return tracker_.has_open_turns(); }
    [[nodiscard]] bool is_open(const std::string& message) const override {
        return tracker_.is_heard(message);
    }
    [[nodiscard]] bool knows_history() const override { return tracker_.facts().knows_history(); }
    [[nodiscard]] std::size_t background() const override;
    [[nodiscard]] std::optional<session_status> status() const override {
        return tracker_.facts().status().now;
    }
    [[nodiscard]] std::optional<unsigned> depth_of(std::string_view id) const override {
        return tracker_.facts().sessions().depth_of(id);
    }

private:
    struct sight; ///< a snapshot
    using seen_ptr = std::shared_ptr<detail::sight>;
    using call = std::function<net::awaitable<result<void>>(client& server, const std::string& directory)>;

    [[nodiscard]] const std::string& id() const noexcept { return host_.info().id; }
    [[nodiscard]] detail::heard take_in(result<event> told, time_point now);
    void note_newest(const message_info& seen);
    [[nodiscard]] net::awaitable<result<void>> where_it_was_asked(call answer);

    // snapshots
    [[nodiscard]] net::awaitable<result<snapshot>> fetch();
    [[nodiscard]] net::awaitable<result<session_statuses>> fetch_status(client server);
    [[nodiscard]] session_status status_in(const session_statuses& at_work) const;
    [[nodiscard]] bool may_be_broken_off(const snapshot& seen) const;
    [[nodiscard]] net::awaitable<result<void>> fetch_messages(client server, snapshot& into);
    [[nodiscard]] net::awaitable<result<void>> fetch_children(client server, snapshot& into);
    [[nodiscard]] net::awaitable<result<void>> fetch_asks(client server, snapshot& into);
    [[nodiscard]] net::awaitable<result<void>> fetch_child_tools(client server, snapshot& into);
    [[nodiscard]] static net::awaitable<result<seen_ptr>> nothing();
    [[nodiscard]] net::awaitable<result<seen_ptr>>
    look_at_work(std::shared_ptr<const detail::directory_view> seen);
    [[nodiscard]] net::awaitable<result<seen_ptr>>
    look_for_news(std::shared_ptr<const detail::directory_view> seen);
    [[nodiscard]] net::awaitable<result<void>> add_asks(std::shared_ptr<const detail::directory_view> seen,
                                                        snapshot& into);
    [[nodiscard]] bool is_nothing_new(const message_page& latest) const;
    [[nodiscard]] bool reaches_back(const message_page& latest) const;

    detail::session_host& host_;
    ledger::turn_tracker tracker_;
    std::string newest_; ///< the id of the newest message that is known, when that has the server's form
    std::optional<failure> unknown_by_; ///< see sight
    std::string latest_;                ///< the last message that a snapshot had
};

} // namespace holdfast::opencode::v1
