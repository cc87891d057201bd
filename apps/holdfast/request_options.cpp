#include "request_options.hpp"

#include "connect_to.hpp"
#include "credentials.hpp"
#include "header_files.hpp"
#include "input.hpp"
#include "options.hpp"
#include "stream_options.hpp"

#include <holdfast/stream/inflate.hpp>

#include <algorithm>
#include <cstdlib>
#include <sys/un.h>
#include <utility>

namespace holdfast::app {

namespace {

constexpr std::size_t longest_body = 64u << 20;
constexpr std::size_t longest_socket_path = sizeof(sockaddr_un::sun_path) - 1;

std::string apply_headers(const request_options& options, stream::source_config& config) {
    std::vector<std::string> files;
    for (const auto& each : options.headers) {
        if (each.starts_with('@')) {
            files.push_back(each.substr(1));
            continue;
        }
        auto parsed = parse_header(each);
        if (!parsed)
            return "--header is given as 'Name: value', or as @FILE";
        config.headers.push_back(std::move(*parsed));
    }
    if (!options.last_event_id.empty())
        config.headers.push_back({"Last-Event-ID", options.last_event_id});
    if (!files.empty())
        send_headers_of(std::move(files), config);
    return {};
}

std::string apply_data(const request_options& options, stream::source_config& config) {
    if (!options.data)
        return {};
    const std::string& given = *options.data;
    if (given != "-" && !given.starts_with('@')) {
        config.body = given;
        return {};
    }
    return read_all(given == "-" ? given : given.substr(1), longest_body, config.body);
}

// A request that is not sent again has one answer, whose end is the end.
void apply_method(const request_options& options, stream::source_config& config) {
    if (!options.method.empty())
        config.method = options.method;
    else if (options.data)
        config.method = "POST";
    config.repeat_unsafe = options.repeat;
    config.clean_end = http::is_safe(config.method) || options.repeat ? stream::clean_end::reconnect
                                                                      : stream::clean_end::done;
}

// A redirect may lead from http:// to https://.
std::string apply_tls(const request_options& options, const http::url& where, stream::source_config& config) {
    if (where.where.scheme != "https" && !options.location)
        return tls_options_for_nothing(options.tls);
    auto tls = http::make_tls_context(options.tls);
    if (!tls)
        return tls.error().message;
    config.transport.tls = std::move(*tls);
    return {};
}

std::optional<std::string> variable(const char* name) {
    const char* const value = std::getenv(name);
    return value ? std::optional<std::string>(value) : std::nullopt;
}

std::string apply_proxy(const request_options& options, stream::source_config& config) {
    auto& rules = config.transport.proxies;
    if (options.proxy_from_environment) {
        auto found = http::proxies_of(variable);
        if (!found)
            return found.error().message;
        rules = std::move(*found);
    }
    if (!options.proxy.empty()) {
        const auto parsed = http::parse_proxy(options.proxy);
        if (!parsed)
            return "--proxy: " + parsed.error().message;
        rules.for_http = rules.for_https = *parsed;
    }
    return {};
}

std::string apply_user(const request_options& options, http::url& where) {
    std::string user = options.user;
    if (auto wrong = read_user(user); !wrong.empty() || user.empty())
        return wrong;
    const auto colon = std::min(user.find(':'), user.size());
    where.user = user.substr(0, colon);
    where.password = user.substr(std::min(colon + 1, user.size()));
    where.has_userinfo = true;
    return {};
}

std::string apply_place(const request_options& options) {
    if (!options.connect_to.empty() && !parse_place(options.connect_to))
        return "--connect-to is given as HOST:PORT";
    if (options.unix_socket.size() > longest_socket_path)
        return "--unix-socket: a path has at most " + std::to_string(longest_socket_path) + " bytes";
    return {};
}

// What would be refused at each connect is refused now, also what the files of headers hold by now.
std::string check_request(const request_options& options, const stream::source_config& config,
                          const http::url& where) {
    http::request sample;
    sample.method = config.method;
    sample.headers = config.headers;
    for (const auto& each : options.headers) {
        if (!each.starts_with('@'))
            continue;
        if (auto wrong = read_headers(each.substr(1), sample.headers); !wrong.empty())
            return wrong;
    }
    const auto good = http::serialize(sample, where);
    return good ? std::string() : good.error().message;
}

} // namespace

void add_request_options(CLI::App& command, request_options& target) {
    command
        .add_option(
            "-H,--header", target.headers,
            "Send this header too, or in place of a default; or those of a file, a line each, read anew at "
            "each connect; may be given again")
        ->type_name("'K: V'|@FILE")
        ->expected(1)
        ->take_all();
    command.add_option("-X,--request", target.method, "The method; else GET, or POST with --data")
        ->type_name("METHOD");
    command.add_option("-d,--data", target.data, "Send this body as it is: text, @FILE, or - for stdin")
        ->type_name("BODY");
    command.add_flag(
        "--repeat", target.repeat,
        "Send a POST (PUT, ...) again when its stream breaks or ends, though it may do everything twice");
    command.add_option("--last-event-id", target.last_event_id, "Go on after this event")->type_name("ID");
    auto* const location = command.add_flag("-L,--location", target.location, "Follow redirects");
    add_count(command, "--max-redirects", target.max_redirects, "With --location: at most N of them, not 3")
        ->needs(location);
    command
        .add_flag("--location-trusted", target.location_trusted,
                  "With --location: send headers and credentials to other servers too")
        ->needs(location);
    command
        .add_option("-u,--user", target.user,
                    "The credentials, or the file that holds them; else those of the URL")
        ->type_name("NAME:PASSWORD|@FILE");
    auto* const proxy = command
                            .add_option("-x,--proxy", target.proxy,
                                        "Go through this proxy: [http://][USER:PASSWORD@]HOST[:PORT]")
                            ->type_name("URL");
    command
        .add_flag("--proxy-from-environment", target.proxy_from_environment,
                  "Go through the proxies that http_proxy, https_proxy, all_proxy and no_proxy name")
        ->excludes(proxy);
    auto* const connect_to = command.add_option("--connect-to", target.connect_to,
                                                "Connect there, instead of to the URL's host and port");
    connect_to->type_name("HOST:PORT")->excludes(proxy);
    command.add_option("--unix-socket", target.unix_socket, "Connect to this Unix socket, and to no proxy")
        ->type_name("PATH")
        ->excludes(proxy)
        ->excludes(connect_to);
    add_duration(command, "--connect-timeout", target.deadlines.connect,
                 "The longest wait for a connection; 0: no limit");
    add_duration(command, "--header-timeout", target.deadlines.header,
                 "The longest wait for the answer's head, from there; 0: no limit; else as for silence");
    add_count(command, "--header-limit", target.header_limit, "The most bytes of an answer's head")
        ->default_str(std::to_string(target.header_limit));
    command.add_flag("--any-type", target.any_type,
                     "Read any answer of success (2xx) as an event stream, of whatever content type it is");
    command.add_flag("--compressed", target.compressed,
                     "Ask for a compressed answer (gzip or deflate), and tell what it inflates to");
    command.add_flag("--cookies", target.cookies,
                     "Keep the cookies that a server sets, until the end, and send them back to it alone");
    add_statuses(
        command, "--retry-status", target.retry_status,
        "Statuses to try again after, by the schedule, though they are given up by default: 404,401");
    add_tls_options(command, target.tls);
}

std::string apply(const request_options& options, http::url& where, stream::source_config& config) {
    std::string wrong = apply_user(options, where);
    if (wrong.empty())
        wrong = apply_place(options);
    if (!wrong.empty())
        return wrong;
    config.locate = [where, path = options.unix_socket] {
        stream::location here;
        here.url = where;
        here.unix_socket = path;
        return here;
    };
    apply_method(options, config);
    config.max_redirects = options.location ? static_cast<unsigned>(options.max_redirects) : 0;
    config.redirects_trusted = options.location_trusted;
    config.any_type = options.any_type;
    config.header_limit = options.header_limit;
    config.transport.deadlines = options.deadlines;
    if (options.cookies)
        config.cookies.emplace();
    wrong = apply_headers(options, config);
    if (options.compressed)
        stream::accept_compressed(config);
    if (wrong.empty())
        wrong = check_request(options, config, where);
    if (wrong.empty())
        wrong = apply_tls(options, where, config);
    if (wrong.empty())
        wrong = apply_proxy(options, config);
    if (wrong.empty())
        wrong = apply_data(options, config);
    return wrong;
}

std::unique_ptr<network> network_of(const request_options& options, const http::url& where) {
    const auto place = parse_place(options.connect_to);
    return place ? connecting_to(make_tcp_network(), where.where, *place) : make_tcp_network();
}

} // namespace holdfast::app
