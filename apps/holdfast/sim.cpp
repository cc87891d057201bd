// holdfast sim: the simulated OpenCode server behind real sockets.
#include "command.hpp"
#include "options.hpp"
#include "signals.hpp"

#include <holdfast/testing/opencode_sim.hpp>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace holdfast::app {

namespace {

namespace net = boost::asio;
using net::ip::tcp;
using testing::opencode_sim;
using id = opencode_sim::connection_id;

/// One client's socket. It writes what the model wants sent, in order, and then ends as the model wants.
struct peer {
    peer(tcp::socket s, id model_id) : socket(std::move(s)), model_id(model_id) {}

    tcp::socket socket;
    id model_id;
    std::array<char, 16 * 1024> input{};
    std::string writing;
    std::string waiting;
    bool last_bytes = false; // then the sending side is shut down
};

/// The model on real sockets: one thread, one timer, one listener that comes and goes as the model says.
class sim_host {
public:
    sim_host(opencode_sim::options settings, tcp::endpoint where)
        : model_(std::move(settings)), where_(std::move(where)), listener_(io_), timer_(io_),
          signals_(io_, [this](int signal) { end({exit_code_of(signal), {}}); }) {}

    /// Binds; afterwards endpoint() has the real port.
    boost::system::error_code open() {
        const auto failed = listen();
        if (!failed)
            where_ = listener_.local_endpoint();
        return failed;
    }

    [[nodiscard]] const tcp::endpoint& endpoint() const { return where_; }

    command_result run() {
        settle();
        io_.run();
        return result_;
    }

private:
    static time_point now() { return std::chrono::steady_clock::now(); }

    void end(command_result result) {
        result_ = std::move(result);
        io_.stop();
    }

    boost::system::error_code listen() {
        boost::system::error_code failed;
        listener_.open(where_.protocol(), failed);
        if (!failed)
            listener_.set_option(tcp::acceptor::reuse_address(true), failed);
        if (!failed)
            listener_.bind(where_, failed);
        if (!failed)
            listener_.listen(net::socket_base::max_listen_connections, failed);
        if (failed)
            close_listener();
        else
            accept();
        return failed;
    }

    void close_listener() {
        boost::system::error_code ignored;
        listener_.close(ignored);
    }

    void accept() {
        listener_.async_accept([this](boost::system::error_code failed, tcp::socket socket) {
            if (!listener_.is_open() || failed == net::error::operation_aborted)
                return;
            if (!failed)
                admit(std::move(socket));
            if (listener_.is_open()) // the model may just have closed it
                accept();
        });
    }

    void admit(tcp::socket socket) {
        boost::system::error_code ignored;
        socket.set_option(tcp::no_delay(true), ignored);
        const auto model_id = model_.accept(now());
        const auto p = std::make_shared<peer>(std::move(socket), model_id);
        peers_[model_id] = p;
        read(p);
        settle();
    }

    void read(const std::shared_ptr<peer>& p) {
        p->socket.async_read_some(
            net::buffer(p->input), [this, p](boost::system::error_code failed, std::size_t n) {
                if (failed) {
                    leave(*p);
                    return;
                }
                // Once the model has closed it, the rest is read and dropped until the client closes too.
                if (peers_.contains(p->model_id)) {
                    model_.receive(p->model_id, std::string_view(p->input.data(), n), now());
                    settle();
                }
                read(p);
            });
    }

    void leave(peer& p) {
        boost::system::error_code ignored;
        p.socket.close(ignored);
        if (peers_.erase(p.model_id) == 0)
            return;
        model_.closed(p.model_id, now());
        settle();
    }

    /// After anything happened in the model: send what it says, listen or not, and wake up when it asks.
    void settle() {
        for (auto& out : model_.take_output())
            deliver(out);
        if (model_.listening() != listener_.is_open())
            follow_listening();
        wait();
    }

    void follow_listening() {
        if (!model_.listening()) {
            close_listener();
            return;
        }
        if (const auto failed = listen())
            end(failed_to_listen(where_, failed));
    }

    void deliver(opencode_sim::output& out) {
        const auto found = peers_.find(out.id);
        if (found == peers_.end())
            return;
        const auto p = found->second;
        if (out.reset || out.close)
            peers_.erase(found);
        if (out.reset) {
            boost::system::error_code ignored;
            p->socket.set_option(net::socket_base::linger(true, 0), ignored);
            p->socket.close(ignored);
            return;
        }
        p->waiting += out.bytes;
        p->last_bytes = out.close;
        write(p);
    }

    void write(const std::shared_ptr<peer>& p) {
        if (!p->writing.empty())
            return;
        if (p->waiting.empty()) {
            boost::system::error_code ignored;
            if (p->last_bytes)
                p->socket.shutdown(tcp::socket::shutdown_send, ignored);
            return;
        }
        std::swap(p->writing, p->waiting);
        net::async_write(p->socket, net::buffer(p->writing),
                         [this, p](boost::system::error_code failed, std::size_t) {
                             p->writing.clear();
                             if (!failed)
                                 write(p); // a failure is seen by read(), too
                         });
    }

    void wait() {
        const auto next = model_.next_wakeup();
        if (!next)
            return;
        timer_.expires_at(*next);
        timer_.async_wait([this](boost::system::error_code failed) {
            if (failed)
                return; // set anew meanwhile
            model_.advance(now());
            settle();
        });
    }

public:
    static command_result failed_to_listen(const tcp::endpoint& where,
                                           const boost::system::error_code& failed) {
        return app::failed("cannot listen on " + where.address().to_string() + " port " +
                           std::to_string(where.port()) + ": " + failed.message());
    }

private:
    net::io_context io_{1};
    opencode_sim model_;
    tcp::endpoint where_;
    tcp::acceptor listener_;
    net::steady_timer timer_;
    signals signals_;
    std::map<id, std::shared_ptr<peer>> peers_;
    command_result result_;
};

struct sim_options {
    std::string listen = "127.0.0.1:4096";
    std::vector<std::string> faults;
    std::string pace = "20ms";
    std::uint64_t seed = 1;
    int protocol = 1;
    std::string version;
    bool service = false;
};

/// "127.0.0.1:4096", "[::1]:0" or "localhost:4096".
std::optional<tcp::endpoint> parse_listen(std::string_view text) {
    const auto colon = text.rfind(':');
    if (colon == std::string_view::npos)
        return std::nullopt;
    auto host = text.substr(0, colon);
    const auto digits = text.substr(colon + 1);
    unsigned port = 0;
    const auto [stop, bad] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
    if (digits.empty() || bad != std::errc() || stop != digits.data() + digits.size() || port > 65535)
        return std::nullopt;
    const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
    if (bracketed)
        host = host.substr(1, host.size() - 2);
    if (host == "localhost")
        host = "127.0.0.1";
    boost::system::error_code failed;
    const auto address = net::ip::make_address(std::string(host), failed);
    if (failed || address.is_v6() != bracketed)
        return std::nullopt;
    return tcp::endpoint(address, static_cast<unsigned short>(port));
}

/// A bare number is milliseconds here, as the option's name for its value says.
std::optional<duration> parse_pace(const std::string& text) {
    const bool bare = !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
    return parse_duration(bare ? text + "ms" : text);
}

std::string base_url(const tcp::endpoint& where) {
    const auto host = where.address().to_string();
    return "http://" + (where.address().is_v6() ? "[" + host + "]" : host) + ":" +
           std::to_string(where.port());
}

std::string environment(const char* name) {
    const char* value = std::getenv(name);
    return value ? value : "";
}

/// As the real servers take it from the environment.
void protect(opencode_sim::options& settings) {
    settings.password = environment("OPENCODE_SERVER_PASSWORD");
    if (const auto user = environment("OPENCODE_SERVER_USERNAME"); !user.empty())
        settings.username = user;
    if (const auto password = environment("OPENCODE_PASSWORD"); settings.protocol == 2 && !password.empty())
        settings.password = password;
}

command_result serve(const sim_options& options, command_context& context) {
    opencode_sim::options settings;
    settings.seed = options.seed;
    settings.epoch = std::chrono::system_clock::now();
    settings.protocol = options.protocol;
    settings.version = options.version;
    settings.service = options.service;
    protect(settings);
    if (options.service && options.protocol != 2)
        return misused("--service is of --protocol 2");
    if (!options.version.empty() && !options.version.starts_with(std::to_string(options.protocol) + "."))
        return misused("--says-version: " + options.version + " is no version of protocol " +
                       std::to_string(options.protocol));
    const auto pace = parse_pace(options.pace);
    if (!pace)
        return misused("--pace: " + options.pace + " is no duration");
    settings.pace = *pace;
    for (const auto& spec : options.faults) {
        std::string why;
        const auto parsed = testing::parse_fault(spec, &why);
        if (!parsed)
            return misused("--fault: " + why);
        settings.faults.push_back(*parsed);
    }
    const auto where = parse_listen(options.listen);
    if (!where)
        return misused("--listen: " + options.listen +
                       " is not an address and a port, as 127.0.0.1:4096 or [::1]:0");

    sim_host host(std::move(settings), *where);
    if (const auto failed = host.open())
        return sim_host::failed_to_listen(*where, failed);
    const std::string who = options.protocol == 2 ? "server" : "opencode server";
    context.out.text(who + " listening on " + base_url(host.endpoint()) + "\n");
    return host.run();
}

} // namespace

void add_sim(CLI::App& program, command_context& context) {
    CLI::App* const command =
        program.add_subcommand("sim", "Simulate an OpenCode server: scripted, seeded turns, with faults.");
    const auto options = std::make_shared<sim_options>();
    command->add_option("--listen", options->listen, "Address and port; port 0 takes a free one")
        ->type_name("HOST:PORT")
        ->capture_default_str();
    command
        ->add_option("--fault", options->faults,
                     "Something that goes wrong; may be given several times, see below")
        ->type_name("SPEC")
        ->allow_extra_args(false);
    command->add_option("--pace", options->pace, "Time between two words of the model")
        ->type_name("MS")
        ->capture_default_str();
    command->add_option("--seed", options->seed, "Decides every id, delay and jitter")->capture_default_str();
    command->add_option("--protocol", options->protocol, "Which OpenCode it is, 1.x or 2.x")
        ->type_name("1|2")
        ->check(CLI::Range(1, 2))
        ->capture_default_str();
    command
        ->add_option("--says-version", options->version,
                     "The version that it tells (1.18.33, 2.0.26); of 2.x it decides how it is spoken to: "
                     "2.0.0 to 2.0.3 early, with a word as 2.0.0-lab the preview of August 2026")
        ->type_name("V");
    command->add_flag("--service", options->service,
                      "Of 2.x: after a fault that restarts it, it goes on by itself with what it was at");
    command->footer(
        "A tag in the prompt's text picks the turn that is played:\n" + std::string(testing::script_help()) +
        "\nFaults:\n" + std::string(testing::fault_help()) +
        "\nOPENCODE_SERVER_PASSWORD and OPENCODE_SERVER_USERNAME protect it, as they do the real server; of\n"
        "2.x OPENCODE_PASSWORD comes first, and the user is always opencode.\n"
        "The first line on stdout says where it listens.\n");
    command->callback([options, &context] {
        context.run = [options, &context] {
            return serve(*options, context);
        };
    });
}

} // namespace holdfast::app
