// What the load tests have in common: simulated servers in processes of their own that are killed and started
// again, what is measured meanwhile, and the table at the end.
#pragma once

#include "support/process.hpp"

#include <holdfast/runtime/runtime.hpp>

#include <boost/asio/awaitable.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace holdfast::test::load {

using steady = std::chrono::steady_clock;
using moment = steady::time_point;

struct settings {
    std::size_t servers = 0;
    std::size_t sessions = 0;    ///< of all servers together
    std::size_t directories = 0; ///< of each server: its sessions are spread over them
    std::size_t killed = 0;      ///< servers killed under way, which know no session afterwards
    std::size_t restarted = 0;   ///< others, which die under way and come back with what they had stored
    double seconds = 0;          ///< of work, from when all is there
    double down = 0;             ///< seconds from a kill to the new process
    double tick = 0;             ///< seconds, of captures
    std::uint64_t seed = 1;
    bool verbose = false;
};

class exchange;

/// A simulated server, at one address for all its processes. It listens on 127.0.0.2: what connects from this
/// machine does so from 127.0.0.1, and so never takes its port while it is down, nor connects to itself
/// there.
///
/// Thread safety: kill() and start() from one thread at a time, the rest from any.
class sim_place {
public:
    explicit sim_place(std::vector<std::string> arguments);
    ~sim_place();
    sim_place(const sim_place&) = delete;
    sim_place& operator=(const sim_place&) = delete;

    [[nodiscard]] const std::string& url() const noexcept { return url_; }
    /// SIGKILL; returns when the process is gone.
    void kill();
    /// A new process at the old port. Returns when connections are accepted there; that moment is opened().
    void start();
    /// Has its fault strike. Returns when it answers again; that moment is opened().
    void die_by_fault();
    [[nodiscard]] unsigned deaths() const noexcept { return deaths_; }
    /// Since when it is there again after its last death; nothing: it is not yet.
    [[nodiscard]] std::optional<moment> opened() const;
    /// Of all its processes, user and system.
    [[nodiscard]] double cpu_seconds();
    [[nodiscard]] double resident_mib() const;

    /// Its arguments for a fault that strikes after so many bytes on its event streams as no load test brings
    /// about: "restart", "refuse".
    [[nodiscard]] static std::vector<std::string> fault(const std::string& what,
                                                        const std::string& more = {});

private:
    void begin_death();
    void set_opened();

    std::vector<std::string> arguments_;
    std::unique_ptr<process> child_;
    std::string url_;
    unsigned short port_ = 0;
    std::unique_ptr<exchange> stream_; ///< which a fault of its own counts: the first that there was
    double cpu_before_ = 0;            ///< of processes that are gone
    std::atomic<unsigned> deaths_ = 0;
    mutable std::mutex mutex_; ///< guards what follows
    std::optional<moment> opened_;
};

void add(std::vector<std::string>& arguments, const std::vector<std::string>& more);

/// Samples the library's counters from within, each tenth of a second.
class meter {
public:
    explicit meter(runtime& world) : world_(world) {}

    /// Until cancelled (terminal).
    [[nodiscard]] net::awaitable<void> run();

    /// The most connections tried in any second.
    [[nodiscard]] double most_connects() const { return most_in_a_second(&sample::connects); }
    [[nodiscard]] double most_log_lines() const { return most_in_a_second(&sample::log_lines); }
    [[nodiscard]] double connects_a_second() const;
    /// By how much a timer of the library was late, at this percentile, ms: how starved it is.
    [[nodiscard]] double late_ms(double percent) const;

private:
    struct sample {
        moment when;
        double connects = 0;
        double log_lines = 0;
        double late_ms = 0;
    };
    [[nodiscard]] double most_in_a_second(double sample::* what) const;

    runtime& world_;
    std::vector<sample> samples_;
};

/// What this process and the whole machine have used, between two moments.
class consumption {
public:
    consumption();
    struct figures {
        double seconds = 0;
        double own_cpu = 0;     ///< cores, of this process
        double machine_cpu = 0; ///< cores, of everybody
    };
    [[nodiscard]] figures since() const;

private:
    moment begun_;
    double own_;
    double machine_;
};

/// MiB.
[[nodiscard]] double peak_resident();
/// MiB that are allocated and not freed.
[[nodiscard]] double allocated();

/// "Intel Xeon ..., 2 cores, load 7.5"
[[nodiscard]] std::string machine();

/// Prints rows of a table, and remembers whether a bound was broken.
class table {
public:
    explicit table(const std::string& title);
    void row(const std::string& what, double value, const char* unit);
    /// With a bound that the value must not pass.
    void row(const std::string& what, double value, const char* unit, double most);
    /// A row for a distribution: median, 99th percentile, most. The bound is for the 99th percentile; 0:
    /// none.
    void spread(const std::string& what, const std::vector<double>& values, const char* unit,
                double most = 0);
    [[nodiscard]] bool held() const noexcept { return held_; }

private:
    void line(const std::string& what, const std::string& value, double measured, double most);
    bool held_ = true;
};

/// Tells on stderr what is being done.
void progress(const std::string& words);

/// What was wrong; the first few are told at once. Thread safety: any.
class complaints {
public:
    void add(const std::string& words);
    [[nodiscard]] double count() const;

private:
    mutable std::mutex mutex_;
    std::size_t count_ = 0;
};

/// What the simulated model says to "#slow:N".
[[nodiscard]] std::string words(unsigned count);

/// The two tests. @return whether all bounds held.
[[nodiscard]] bool run_streams(const settings& chosen);
[[nodiscard]] bool run_captures(const settings& chosen);

} // namespace holdfast::test::load
