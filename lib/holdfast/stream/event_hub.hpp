// One event_source shared by many subscribers, each with a key: acknowledge, repair, flush, live.
#pragma once

#include <holdfast/runtime/condition_variable.hpp>
#include <holdfast/runtime/task_scope.hpp>
#include <holdfast/stream/event_source.hpp>

#include <cstddef>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace holdfast::stream {

/// Where one event goes, as its data's owner peeked it.
struct routing {
    enum class target {
        subscriber,  ///< to the subscriber of `key`, or to the observer when there is none; it is progress
        everyone,    ///< to each subscriber, and to the observer
        observer,    ///< to the observer alone
        acknowledge, ///< the greeting: from here on nothing is missed
        nobody,
    };
    routing() = default; // no aggregate, see header
    routing(target where, std::string whose) : to(where), key(std::move(whose)) {}

    target to = target::observer;
    std::string key;
    /// What of the data subscribers are told: a part of it. Null: all of it.
    std::string_view part;
};

/// Who holds a part of the stream. Called on the runtime's executor. What a call throws is logged and
/// contained: it is never a failure of the stream.
class subscriber {
public:
    virtual ~subscriber() = default;

    /// The stream is acknowledged: from here on nothing is missed. Events are kept back until repair()
    /// returns.
    virtual void on_attached() = 0;
    /// Mends what was missed before. Cancelled when the stream breaks meanwhile.
    [[nodiscard]] virtual net::awaitable<void> repair() = 0;
    /// One event. `data` holds during the call.
    virtual void on_event(std::string_view data) = 0;
    /// The same, of one that hub_config::prepare worked through: with what that gave, which the last who is
    /// told may have to itself. By default this is on_event().
    virtual void on_prepared(std::string_view data, [[maybe_unused]] std::shared_ptr<void> prepared) {
        on_event(data);
    }
    /// All that was kept back has been told: what comes now is live.
    virtual void on_live() = 0;
    virtual void on_interrupted(const item& why) = 0;
    /// The stream is given up, or done or answered where its configuration has such an end. Awaited: the last
    /// chance to ask the server by other means.
    [[nodiscard]] virtual net::awaitable<void> on_give_up(const item& why) = 0;
};

struct hub_config {
    hub_config() = default; // no aggregate, see header

    source_config source;
    std::function<routing(std::string_view data)> route;
    std::function<void(std::string_view data)> observe; ///< what belongs to no subscriber; may be empty
    /// Works through what subscribers are to be told, once for all of them, with others' turns in between:
    /// asked for an event that goes to everyone, and for one of more than `large` bytes. The stream waits
    /// meanwhile. Null, and where it throws: they are told as of any other. May be empty.
    std::function<net::awaitable<std::shared_ptr<void>>(std::string data)> prepare;
    std::size_t large = 64u << 10; ///< see prepare
    /// What may be kept back for one subscriber during its repair; past it, the repair is done again.
    std::size_t held_back_bytes = 8u << 20;
};

/// Thread safety: confined to its runtime's executor. Owned by shared_ptr: its repairs keep it alive.
class event_hub : public std::enable_shared_from_this<event_hub> {
public:
    /// Repairs run in `scope`, which must outlive the hub's run().
    event_hub(const runtime& world, task_scope& scope, hub_config config);

    /// Reads the stream to its end: gave up, closed, or gone. A second run() while one runs returns at once.
    /// Cancellation (terminal): operation_aborted at once; the source is closed.
    [[nodiscard]] net::awaitable<void> run();

    /// Adds a subscriber under `key`. On an acknowledged stream it is attached, and its repair begins, at
    /// once.
    void subscribe(std::string key, std::shared_ptr<subscriber> who);
    /// From here on that subscriber is told nothing more, not even the rest of a batch.
    void unsubscribe(std::string_view key);

    /// Ends run(); nobody is told anything more, not even the rest of a batch.
    void close() noexcept;
    void wake();
    [[nodiscard]] bool running() const noexcept { return running_; }
    [[nodiscard]] bool acknowledged() const noexcept { return acknowledged_; }
    [[nodiscard]] std::size_t size() const noexcept { return members_.size(); }
    [[nodiscard]] bool has(std::string_view key) const { return members_.find(key) != members_.end(); }

private:
    struct member {
        std::shared_ptr<subscriber> who;
        bool live = false;
        bool overflowed = false;
        bool left = false; ///< unsubscribed
        task_scope::id repair = 0;
        std::vector<std::string> held_back;
        std::size_t held_back_bytes = 0;
    };
    using member_ptr = std::shared_ptr<member>;

    void dispatch(const item& what);
    void dispatch_event(const routing& where, std::string_view data, std::shared_ptr<void> prepared);
    [[nodiscard]] routing route(std::string_view data);
    [[nodiscard]] bool is_to_be_prepared(const routing& where, std::string_view data) const;
    [[nodiscard]] net::awaitable<std::shared_ptr<void>> prepare(std::string_view told);
    void acknowledge();
    void interrupt(const item& why);
    [[nodiscard]] net::awaitable<void> give_up(item why);
    [[nodiscard]] net::awaitable<void> tell_give_up(member_ptr to, item why, std::shared_ptr<void> telling);
    void attach(const member_ptr& to);
    [[nodiscard]] net::awaitable<void> repair(member_ptr to);
    void tell(const member_ptr& to, std::string_view data, std::shared_ptr<void> prepared = {});
    void flush(member& to);
    [[nodiscard]] bool may_call(const member& to) const noexcept;
    template <class Call>
    void call(const member& to, std::string_view what, Call&& make) noexcept;
    template <class Call>
    void contained(std::string_view what, Call&& make) noexcept;
    void report(std::string_view what, const std::exception_ptr& thrown) noexcept;
    [[nodiscard]] std::vector<member_ptr> everyone() const;

    runtime world_;
    task_scope& scope_;
    hub_config config_;
    event_source source_;
    std::map<std::string, member_ptr, std::less<>> members_;
    bool running_ = false;
    bool acknowledged_ = false;
    bool closed_ = false;
};

} // namespace holdfast::stream
