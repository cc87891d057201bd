#include "long/load.hpp"

#include "long/figures.hpp"
#include "support/command.hpp"

#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>

#include <malloc.h>
#include <poll.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <cmath>
#include <csignal>
#include <fstream>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <thread>

namespace holdfast::test::load {

using namespace std::chrono_literals;
namespace net = boost::asio;
using net::ip::tcp;

namespace {

constexpr auto address = "127.0.0.2";

} // namespace

/// One request on a connection of its own. Not by the library under test.
class exchange {
public:
    exchange(unsigned short port, const std::string& request) {
        socket_.connect({net::ip::make_address(address), port}, failed_);
        if (!failed_)
            net::write(socket_, net::buffer(request), failed_);
    }

    /// Waits for the next bytes. @return false when there are none any more, or none came in time.
    bool read_more(std::chrono::milliseconds deadline) {
        pollfd ready{socket_.native_handle(), POLLIN, 0};
        if (failed_ || deadline < 0ms || ::poll(&ready, 1, static_cast<int>(deadline.count())) <= 0)
            return false;
        std::array<char, 65536> block{};
        const auto n = socket_.read_some(net::buffer(block), failed_);
        if (answer_.size() < sizeof block) // a stream's bytes are not wanted
            answer_.append(block.data(), n);
        return !failed_;
    }

    /// Until it ends, or the deadline.
    std::string read_all(std::chrono::milliseconds deadline) {
        const auto until = steady::now() + deadline;
        while (read_more(std::chrono::duration_cast<std::chrono::milliseconds>(until - steady::now())))
            ;
        return answer_;
    }

private:
    net::io_context io_;
    tcp::socket socket_{io_};
    boost::system::error_code failed_;
    std::string answer_;
};

namespace {

constexpr auto patience = 60s; // for a process to start, or to die
constexpr auto dies_after = 8'000'000;
constexpr auto death = "?directory=%2Fdeath";

double ticks(double count) {
    return count / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

double seconds_of(const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
}

/// Of a process that has not been reaped.
double cpu_of(pid_t id) {
    std::ifstream file("/proc/" + std::to_string(id) + "/stat");
    std::string text((std::istreambuf_iterator<char>(file)), {});
    const auto name_end = text.rfind(')');
    if (name_end == std::string::npos)
        return 0;
    std::istringstream rest(text.substr(name_end + 2));
    std::string skipped;
    for (int field = 3; field < 14; ++field)
        rest >> skipped;
    double user = 0;
    double system = 0;
    rest >> user >> system;
    return ticks(user + system);
}

double own_cpu() {
    rusage used{};
    ::getrusage(RUSAGE_SELF, &used);
    return seconds_of(used.ru_utime) + seconds_of(used.ru_stime);
}

/// Of all processes since the machine was started, but for what it was idle.
double machine_cpu() {
    std::ifstream file("/proc/stat");
    std::string name;
    std::array<double, 7> fields{}; // user nice system idle iowait irq softirq
    file >> name;
    for (auto& each : fields)
        file >> each;
    return ticks(fields[0] + fields[1] + fields[2] + fields[5] + fields[6]);
}

std::string request(const std::string& line, const std::string& body = {}) {
    return line +
           " HTTP/1.1\r\nHost: load\r\nConnection: close\r\nContent-Type: "
           "application/json\r\nContent-Length: " +
           std::to_string(body.size()) + "\r\n\r\n" + body;
}

std::string ask(unsigned short port, const std::string& request) {
    return exchange(port, request).read_all(500ms);
}

bool accepts(unsigned short port) {
    net::io_context io;
    tcp::socket socket(io);
    boost::system::error_code failed;
    socket.connect({net::ip::make_address(address), port}, failed);
    return !failed;
}

template <class Condition>
void wait_until(Condition holds, const char* what) {
    const auto deadline = steady::now() + patience;
    while (!holds()) {
        if (steady::now() > deadline)
            throw std::runtime_error(std::string("in vain: ") + what);
        std::this_thread::sleep_for(3ms);
    }
}

} // namespace

// --- sim_place

sim_place::sim_place(std::vector<std::string> arguments) : arguments_(std::move(arguments)) {
    start();
}

sim_place::~sim_place() = default;

void sim_place::begin_death() {
    const std::lock_guard lock(mutex_);
    opened_.reset();
    ++deaths_;
}

void sim_place::set_opened() {
    const std::lock_guard lock(mutex_);
    opened_ = steady::now();
}

std::optional<moment> sim_place::opened() const {
    const std::lock_guard lock(mutex_);
    return opened_;
}

void sim_place::kill() {
    begin_death();
    child_->signal(SIGKILL);
    if (!child_->wait(patience))
        throw std::runtime_error("a simulated server cannot be killed");
    cpu_before_ += cpu_of(child_->id());
    child_.reset();
}

void sim_place::start() {
    process::options what;
    what.argv = {program_path("holdfast"), "sim", "--listen", address + (":" + std::to_string(port_))};
    what.argv.insert(what.argv.end(), arguments_.begin(), arguments_.end());
    what.environment = current_environment();
    child_ = std::make_unique<process>(std::move(what));
    if (port_ != 0) {
        wait_until([&] { return accepts(port_) || !child_->running(); }, "a port that opens again");
        return set_opened();
    }
    const auto line = child_->wait_line([](std::string_view) { return true; }, patience);
    if (!line)
        throw std::runtime_error("holdfast sim does not listen");
    url_ = line->substr(line->rfind(' ') + 1);
    port_ = static_cast<unsigned short>(std::stoi(url_.substr(url_.rfind(':') + 1)));
    stream_ = std::make_unique<exchange>(port_, request(std::string("GET /event") + death));
    set_opened();
}

std::vector<std::string> sim_place::fault(const std::string& what, const std::string& more) {
    return {"--fault", what + '@' + std::to_string(dies_after) + more};
}

// A stream of our own takes the bytes after which it strikes.
void sim_place::die_by_fault() {
    const auto made = ask(port_, request(std::string("POST /session") + death, "{}"));
    const auto id = made.find("ses_");
    if (id == std::string::npos)
        throw std::runtime_error("a simulated server makes no session");
    const auto session = made.substr(id, made.find('"', id) - id);
    begin_death();
    const auto text = R"({"parts":[{"type":"text","text":"#big:)" + std::to_string(dies_after) + R"("}]})";
    ask(port_, request("POST /session/" + session + "/prompt_async" + death, text));
    stream_->read_all(patience);
    wait_until([&] { return ask(port_, request("GET /global/health")).find("healthy") != std::string::npos; },
               "a server that answers again");
    set_opened();
}

double sim_place::cpu_seconds() {
    return cpu_before_ + (child_ ? cpu_of(child_->id()) : 0);
}

double sim_place::resident_mib() const {
    std::ifstream file("/proc/" + std::to_string(child_->id()) + "/statm");
    double total = 0;
    double pages = 0;
    file >> total >> pages;
    return pages * static_cast<double>(::sysconf(_SC_PAGESIZE)) / 1024 / 1024;
}

void add(std::vector<std::string>& arguments, const std::vector<std::string>& more) {
    arguments.insert(arguments.end(), more.begin(), more.end());
}

// --- meter

net::awaitable<void> meter::run() {
    for (auto due = world_.now();; due += milliseconds(100)) {
        co_await world_.sleep_until(due);
        const auto now = world_.now();
        const auto connects =
            world_.value(metric::connections_opened) + world_.value(metric::connections_failed);
        samples_.push_back({now, static_cast<double>(connects),
                            static_cast<double>(world_.value(metric::log_lines)),
                            std::chrono::duration<double, std::milli>(now - due).count()});
        due = std::max(due, now - milliseconds(100)); // what it was late for is over
    }
}

double meter::most_in_a_second(double sample::* what) const {
    double most = 0;
    std::size_t first = 0;
    for (const auto& each : samples_) {
        while (each.when - samples_[first].when > 1s)
            ++first;
        most = std::max(most, each.*what - samples_[first].*what);
    }
    return most;
}

double meter::connects_a_second() const {
    if (samples_.size() < 2)
        return 0;
    const auto& first = samples_.front();
    const auto& last = samples_.back();
    return (last.connects - first.connects) / std::chrono::duration<double>(last.when - first.when).count();
}

double meter::late_ms(double percent) const {
    std::vector<double> all;
    for (const auto& each : samples_)
        all.push_back(each.late_ms);
    return percentile(std::move(all), percent);
}

// --- consumption

consumption::consumption() : begun_(steady::now()), own_(own_cpu()), machine_(machine_cpu()) {}

consumption::figures consumption::since() const {
    figures now;
    now.seconds = std::chrono::duration<double>(steady::now() - begun_).count();
    now.own_cpu = (own_cpu() - own_) / now.seconds;
    now.machine_cpu = (machine_cpu() - machine_) / now.seconds;
    return now;
}

double peak_resident() {
    rusage used{};
    ::getrusage(RUSAGE_SELF, &used);
    return static_cast<double>(used.ru_maxrss) / 1024;
}

double allocated() {
    const auto heap = ::mallinfo2();
    return static_cast<double>(heap.uordblks + heap.hblkhd) / 1024 / 1024;
}

std::string machine() {
    std::ifstream file("/proc/cpuinfo");
    std::string model = "unknown processor";
    for (std::string line; std::getline(file, line);)
        if (line.starts_with("model name")) {
            model = line.substr(line.find(':') + 2);
            break;
        }
    double load = 0;
    std::ifstream("/proc/loadavg") >> load;
    std::ostringstream text;
    text << model << ", " << std::thread::hardware_concurrency() << " cores, load " << load;
    return text.str();
}

// --- table

table::table(const std::string& title) {
    std::printf("\n%s\n\n| | | at most | |\n|---|---|---|---|\n", title.c_str());
}

void table::line(const std::string& what, const std::string& value, double measured, double most) {
    const bool holds = measured <= most;
    held_ = held_ && holds;
    std::printf("| %s | %s | %.6g | %s |\n", what.c_str(), value.c_str(), most, holds ? "held" : "BROKE");
}

namespace {

std::string told(double value, const char* unit) {
    std::array<char, 64> text{};
    std::snprintf(text.data(), text.size(), value < 100 && value != std::round(value) ? "%.2f %s" : "%.0f %s",
                  value, unit);
    return text.data();
}

} // namespace

void table::row(const std::string& what, double value, const char* unit) {
    std::printf("| %s | %s | | |\n", what.c_str(), told(value, unit).c_str());
}

void table::row(const std::string& what, double value, const char* unit, double most) {
    line(what, told(value, unit), value, most);
}

void table::spread(const std::string& what, const std::vector<double>& values, const char* unit,
                   double most) {
    const auto last = percentile(values, 99);
    const auto text = told(percentile(values, 50), "/ ") + told(last, "/ ") +
                      told(percentile(values, 100), unit) + " (" + std::to_string(values.size()) + ")";
    if (most > 0)
        line(what + ", median / 99 % / most", text, last, most);
    else
        std::printf("| %s, median / 99 %% / most | %s | | |\n", what.c_str(), text.c_str());
}

void progress(const std::string& words) {
    static const auto begun = steady::now();
    std::cerr << std::chrono::duration_cast<std::chrono::seconds>(steady::now() - begun).count()
              << " s: " << words << std::endl;
}

void complaints::add(const std::string& words) {
    const std::lock_guard lock(mutex_);
    if (++count_ <= 20)
        std::cerr << "WRONG: " << words << std::endl;
}

double complaints::count() const {
    const std::lock_guard lock(mutex_);
    return static_cast<double>(count_);
}

std::string words(unsigned count) {
    std::string text;
    for (unsigned i = 0; i < count; ++i)
        text += "w" + std::to_string(i) + ' ';
    return text;
}

} // namespace holdfast::test::load
