#include "support/process.hpp"

#include <holdfast/runtime/descriptor.hpp>

#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <condition_variable>
#include <csignal>
#include <fstream>
#include <future>
#include <iterator>
#include <mutex>
#include <sstream>
#include <system_error>
#include <thread>
#include <utility>

namespace holdfast::test {

namespace {

[[noreturn]] void throw_errno(int code, const std::string& what) {
    throw std::system_error(code, std::generic_category(), what);
}

using holdfast::detail::descriptor;

struct pipe_ends {
    descriptor read;
    descriptor write;
};

pipe_ends make_pipe() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
        throw_errno(errno, "pipe");
    }
    return {descriptor(ends[0]), descriptor(ends[1])};
}

std::vector<char*> pointers_to(std::vector<std::string>& strings) {
    std::vector<char*> pointers;
    for (auto& text : strings) {
        pointers.push_back(text.data());
    }
    pointers.push_back(nullptr);
    return pointers;
}

/// What the child side of fork() needs. Prepared before: after fork() only system calls are allowed.
struct launch {
    std::vector<char*> argv;
    std::vector<char*> environment;
    const char* directory = nullptr;
    int input = -1;
    int output = -1;
    int errors = -1;
    int failure = -1; ///< errno is written here when exec fails
    bool terminal = false;
    pid_t parent = 0;
};

[[noreturn]] void fail_launch(const launch& plan) {
    const int code = errno;
    [[maybe_unused]] const auto written = ::write(plan.failure, &code, sizeof code);
    ::_exit(127);
}

[[noreturn]] void run_child(const launch& plan) {
    ::setsid();
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != plan.parent) {
        ::_exit(127); // the parent died before the line above
    }
    if (plan.terminal) {
        ::ioctl(plan.input, TIOCSCTTY, 0);
    }
    ::dup2(plan.input, STDIN_FILENO);
    ::dup2(plan.output, STDOUT_FILENO);
    ::dup2(plan.errors, STDERR_FILENO);
    // Sockets of the test must not live on in the child: a closed listener would still accept.
    ::close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    ::signal(SIGPIPE, SIG_DFL); // ignored in the test, and that would be inherited
    if (plan.directory != nullptr && ::chdir(plan.directory) != 0) {
        fail_launch(plan);
    }
    ::execve(plan.argv[0], plan.argv.data(), plan.environment.data());
    fail_launch(plan);
}

/// The lines of one stream, collected by a thread of its own.
class line_reader {
public:
    void start(descriptor source) {
        source_ = std::move(source);
        stop_ = make_pipe();
        thread_ = std::thread([this] { read_all(); });
    }
    ~line_reader() {
        if (thread_.joinable()) {
            stop_.write.close();
            thread_.join();
        }
    }

    std::optional<std::string> wait_line(const std::function<bool(std::string_view)>& wanted,
                                         std::chrono::milliseconds deadline) const {
        const auto until = std::chrono::steady_clock::now() + deadline;
        std::unique_lock lock(mutex_);
        for (std::size_t next = 0;;) {
            for (; next < lines_.size(); ++next) {
                if (wanted(lines_[next])) {
                    return lines_[next];
                }
            }
            if (ended_ || !changed_.wait_until(lock, until, [&] { return ended_ || next < lines_.size(); })) {
                return std::nullopt;
            }
        }
    }

    std::vector<std::string> lines() const {
        const std::lock_guard lock(mutex_);
        return lines_;
    }

    bool wait_end(std::chrono::steady_clock::time_point until) const {
        std::unique_lock lock(mutex_);
        return changed_.wait_until(lock, until, [this] { return ended_; });
    }

    void mark_ended() {
        const std::lock_guard lock(mutex_);
        ended_ = true;
        changed_.notify_all();
    }

private:
    void read_all() {
        std::array<char, 16384> block{};
        for (;;) {
            std::array<pollfd, 2> waits{{{source_.get(), POLLIN, 0}, {stop_.read.get(), POLLIN, 0}}};
            ::poll(waits.data(), waits.size(), -1);
            if (waits[1].revents != 0) {
                break;
            }
            // A terminal says EIO instead of end of file.
            const auto got = ::read(source_.get(), block.data(), block.size());
            if (got < 0 && errno == EINTR) {
                continue;
            }
            if (got <= 0) {
                break;
            }
            add(std::string_view(block.data(), static_cast<std::size_t>(got)));
        }
        if (!partial_.empty()) {
            add("\n");
        }
        mark_ended();
    }

    void add(std::string_view text) {
        const std::lock_guard lock(mutex_);
        partial_.append(text);
        std::size_t begin = 0;
        for (auto end = partial_.find('\n'); end != std::string::npos; end = partial_.find('\n', begin)) {
            auto line = partial_.substr(begin, end - begin);
            if (line.ends_with('\r')) {
                line.pop_back();
            }
            lines_.push_back(std::move(line));
            begin = end + 1;
        }
        partial_.erase(0, begin);
        changed_.notify_all();
    }

    descriptor source_;
    pipe_ends
        stop_; ///< closing its end for writing stops the thread: others may hold the source open for ever
    std::string partial_; // confined to the thread
    mutable std::mutex mutex_;
    mutable std::condition_variable changed_;
    std::vector<std::string> lines_;
    bool ended_ = false;
    std::thread thread_;
};

std::string file_text(const std::filesystem::path& path) {
    const std::ifstream file(path, std::ios::binary);
    std::ostringstream text; // stops where the process ends meanwhile; an iterator would throw
    text << file.rdbuf();
    return text.str();
}

std::vector<pid_t> all_processes() {
    std::vector<pid_t> ids;
    std::error_code ignored; // processes come and go meanwhile
    for (const auto& entry : std::filesystem::directory_iterator("/proc", ignored)) {
        const auto name = entry.path().filename().string();
        pid_t id = 0;
        const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), id);
        if (error == std::errc() && end == name.data() + name.size()) {
            ids.push_back(id);
        }
    }
    return ids;
}

struct process_entry {
    pid_t id = 0;
    pid_t parent = 0;
    char state = 'Z';
};

process_entry entry_of(pid_t id) {
    process_entry entry;
    entry.id = id;
    const auto stat = file_text("/proc/" + std::to_string(id) + "/stat");
    const auto name_end = stat.rfind(')'); // a name may hold spaces and brackets
    if (name_end != std::string::npos) {
        std::istringstream fields(stat.substr(name_end + 1));
        fields >> entry.state >> entry.parent;
    }
    return entry;
}

/// Those that still run: a stopped parent does not reap its zombies.
std::vector<pid_t> living_descendants_of(pid_t root) {
    std::vector<process_entry> table;
    for (const pid_t id : all_processes()) {
        table.push_back(entry_of(id));
    }
    std::vector<pid_t> family{root};
    for (std::size_t next = 0; next < family.size(); ++next) {
        for (const auto& entry : table) {
            if (entry.parent == family[next] && entry.state != 'Z') {
                family.push_back(entry.id);
            }
        }
    }
    family.erase(family.begin());
    return family;
}

} // namespace

class process::child {
public:
    explicit child(options what) : options_(std::move(what)) {
        ::signal(SIGPIPE, SIG_IGN); // writing to a child that has ended is an answer, not the test's end
        if (options_.standard_input == input::terminal) {
            prepare_terminal();
        } else {
            prepare_pipes();
        }
        start();
        child_input_.close();
        child_output_.close();
        child_errors_.close();
    }

    ~child() {
        kill_tree();
        waiter_.join();
        ::waitpid(id_, nullptr, 0);
    }

    child(const child&) = delete;
    child& operator=(const child&) = delete;

    pid_t id() const noexcept { return id_; }
    const line_reader& reader(stream from) const { return from == stream::output ? output_ : errors_; }

    bool write(std::string_view text) {
        const std::lock_guard lock(input_mutex_);
        while (!text.empty()) {
            const auto written = ::write(input_.get(), text.data(), text.size());
            if (written < 0 && errno == EINTR) {
                continue;
            }
            if (written < 0) {
                return false;
            }
            text.remove_prefix(static_cast<std::size_t>(written));
        }
        return true;
    }

    void close_input() {
        if (options_.standard_input == input::terminal) {
            write("\x04");
            return;
        }
        const std::lock_guard lock(input_mutex_);
        input_.close();
    }

    /// Until the destructor the child is not reaped, so its id is nobody else's.
    void signal(int number) { ::kill(id_, number); }

    std::optional<exit_status> wait(milliseconds deadline) const {
        std::unique_lock lock(mutex_);
        ended_.wait_for(lock, deadline, [this] { return status_.has_value(); });
        return status_;
    }

    void kill_tree() {
        signal(SIGSTOP); // so that it starts nothing while its descendants are looked up
        kill_descendants();
        signal(SIGKILL);
        ::kill(-id_, SIGKILL); // a group may outlive its leader
    }

private:
    /// Stops all of them before it kills any: what one starts after its own death sentence would be nobody's
    /// descendant.
    void kill_descendants() {
        std::vector<pid_t> family;
        for (auto found = living_descendants_of(id_); found != family; found = living_descendants_of(id_)) {
            family = std::move(found);
            for (const pid_t member : family) {
                ::kill(member, SIGSTOP);
            }
            std::this_thread::sleep_for(milliseconds(1));
        }
        for (const pid_t member : family) {
            ::kill(member, SIGKILL);
        }
    }

    void prepare_pipes() {
        auto out = make_pipe();
        auto err = make_pipe();
        output_source_ = std::move(out.read);
        errors_source_ = std::move(err.read);
        child_output_ = std::move(out.write);
        child_errors_ = std::move(err.write);
        if (options_.standard_input == input::pipe) {
            auto in = make_pipe();
            child_input_ = std::move(in.read);
            input_ = std::move(in.write);
        } else {
            child_input_ = descriptor(::open("/dev/null", O_RDONLY | O_CLOEXEC));
        }
    }

    void prepare_terminal() {
        int main_side = -1;
        int child_side = -1;
        const winsize size{24, 120, 0, 0};
        if (::openpty(&main_side, &child_side, nullptr, nullptr, &size) != 0) {
            throw_errno(errno, "openpty");
        }
        input_ = descriptor(main_side);
        child_input_ = descriptor(child_side);
        output_source_ = descriptor(::fcntl(main_side, F_DUPFD_CLOEXEC, 0));
        child_output_ = descriptor(::fcntl(child_side, F_DUPFD_CLOEXEC, 0));
        child_errors_ = descriptor(::fcntl(child_side, F_DUPFD_CLOEXEC, 0));
    }

    /// Forks in the thread that will wait for the child: PR_SET_PDEATHSIG is about the parent *thread*, and
    /// the one that made this object may end long before the child.
    void start() {
        auto report = make_pipe();
        launch plan;
        plan.argv = pointers_to(options_.argv);
        plan.environment = pointers_to(options_.environment);
        plan.directory = options_.directory.empty() ? nullptr : options_.directory.c_str();
        plan.input = child_input_.get();
        plan.output = child_output_.get();
        plan.errors = child_errors_.get();
        plan.failure = report.write.get();
        plan.terminal = options_.standard_input == input::terminal;
        plan.parent = ::getpid();

        std::promise<pid_t> forked;
        waiter_ = std::thread([this, &plan, &forked] {
            const pid_t id = ::fork();
            if (id == 0) {
                run_child(plan);
            }
            forked.set_value(id);
            if (id > 0) {
                await_end(id);
            }
        });
        id_ = forked.get_future().get();
        report.write.close();
        int code = id_ < 0 ? EAGAIN : 0;
        if (id_ < 0 || ::read(report.read.get(), &code, sizeof code) > 0) {
            waiter_.join();
            if (id_ > 0) {
                ::waitpid(id_, nullptr, 0);
            }
            throw_errno(code, options_.argv[0]);
        }
        output_.start(std::move(output_source_));
        if (errors_source_.get() >= 0) {
            errors_.start(std::move(errors_source_));
        } else {
            errors_.mark_ended();
        }
    }

    void await_end(pid_t id) {
        siginfo_t info{};
        while (::waitid(P_PID, static_cast<id_t>(id), &info, WEXITED | WNOWAIT) != 0 && errno == EINTR) {
        }
        const std::lock_guard lock(mutex_);
        const bool exited = info.si_code == CLD_EXITED;
        status_ = exited ? exit_status{info.si_status, 0} : exit_status{0, info.si_status};
        ended_.notify_all();
    }

    options options_;
    descriptor child_input_;
    descriptor child_output_;
    descriptor child_errors_;
    descriptor output_source_;
    descriptor errors_source_;
    std::mutex input_mutex_;
    descriptor input_;
    line_reader output_;
    line_reader errors_;
    pid_t id_ = -1;
    mutable std::mutex mutex_;
    mutable std::condition_variable ended_;
    std::optional<exit_status> status_;
    std::thread waiter_;
};

process::process(options what) : child_(std::make_unique<child>(std::move(what))) {}
process::~process() = default;

pid_t process::id() const noexcept {
    return child_->id();
}

std::optional<std::string> process::wait_line(const std::function<bool(std::string_view)>& wanted,
                                              milliseconds deadline, stream from) const {
    return child_->reader(from).wait_line(wanted, deadline);
}

std::vector<std::string> process::lines(stream from) const {
    return child_->reader(from).lines();
}

bool process::wait_end_of_output(milliseconds deadline) const {
    const auto until = std::chrono::steady_clock::now() + deadline;
    return child_->reader(stream::output).wait_end(until) && child_->reader(stream::errors).wait_end(until);
}

bool process::write(std::string_view text) {
    return child_->write(text);
}
void process::close_input() {
    child_->close_input();
}
void process::signal(int number) {
    child_->signal(number);
}
std::optional<exit_status> process::wait(milliseconds deadline) const {
    return child_->wait(deadline);
}
bool process::running() const {
    return !child_->wait(milliseconds(0));
}
void process::kill_tree() {
    child_->kill_tree();
}

void kill_by_environment(std::string_view variable) {
    const std::string wanted = '\0' + std::string(variable) + '\0';
    for (bool found = true; found;) { // one may start another while it is being killed
        found = false;
        for (const pid_t id : all_processes()) {
            const auto environment = '\0' + file_text("/proc/" + std::to_string(id) + "/environ");
            if (id != ::getpid() && environment.find(wanted) != std::string::npos) {
                ::kill(id, SIGKILL);
                found = true;
            }
        }
    }
}

std::vector<std::string> current_environment() {
    std::vector<std::string> result;
    for (char** entry = environ; *entry != nullptr; ++entry) {
        result.emplace_back(*entry);
    }
    return result;
}

} // namespace holdfast::test
