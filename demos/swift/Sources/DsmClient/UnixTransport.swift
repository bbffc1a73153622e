import Foundation

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// By HTTP/1.1 through a socket in the file system, which URLSession does not know.
struct UnixTransport: Transport {
    let path: String

    func post(_ target: String, headers: [String: String], body: Data)
        -> AsyncThrowingStream<Data, Error>
    {
        var head = "POST \(target) HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        head += "Content-Length: \(body.count)\r\n"
        for (name, value) in headers { head += "\(name): \(value)\r\n" }
        let request = Data((head + "\r\n").utf8) + body
        return AsyncThrowingStream { parts in
            // Its reads block, which no thread of Swift's own pool should do.
            let thread = Thread {
                do {
                    let socket = try Socket(path: path)
                    defer { socket.close() }
                    try socket.write(request)
                    try receive(socket, parts)
                    parts.finish()
                } catch {
                    parts.finish(throwing: error)
                }
            }
            thread.start()
        }
    }

    private func receive(
        _ socket: Socket, _ parts: AsyncThrowingStream<Data, Error>.Continuation
    ) throws {
        let first = try socket.line().split(separator: " ", maxSplits: 2)
        guard first.count >= 2, first[0].hasPrefix("HTTP/1."), let status = Int(first[1]) else {
            throw DsmError.stranger(first.joined(separator: " "))
        }
        var headers: [String: String] = [:]
        while case let line = try socket.line(), !line.isEmpty {
            let pair = line.split(separator: ":", maxSplits: 1)
            guard pair.count == 2 else { throw DsmError.stranger(line) }
            headers[pair[0].lowercased()] = pair[1].trimmingCharacters(in: .whitespaces)
        }
        let chunked = headers["transfer-encoding"]?.lowercased() == "chunked"
        guard status == 200 else {
            var refusal = Data()
            try read(socket, chunked, headers["content-length"]) { refusal.append($0) }
            throw DsmError.refused(status, reason(refusal))
        }
        try read(socket, chunked, headers["content-length"]) { parts.yield($0) }
    }

    /// A body in chunks, of a known length, or up to the end.
    private func read(
        _ socket: Socket, _ chunked: Bool, _ length: String?, to take: (Data) -> Void
    ) throws {
        if !chunked {
            var left = length.flatMap { Int($0) } ?? Int.max
            while left > 0, let part = try socket.some(left) {
                left -= part.count
                take(part)
            }
            if length != nil, left > 0 { throw DsmError.connection("it broke off") }
            return
        }
        while true {
            let line = try socket.line()
            guard let size = Int(line.prefix { $0 != ";" }, radix: 16), size >= 0 else {
                throw DsmError.stranger(line)
            }
            if size == 0 { return }
            var left = size
            while left > 0 {
                guard let part = try socket.some(left) else {
                    throw DsmError.connection("it broke off")
                }
                left -= part.count
                take(part)
            }
            _ = try socket.line()
        }
    }
}

/// A connected socket that is read line by line, or in parts.
final class Socket {
    private let number: Int32
    private var waiting = Data()

    init(path: String) throws {
        #if canImport(Glibc)
            number = Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        #else
            number = Darwin.socket(AF_UNIX, SOCK_STREAM, 0)
        #endif
        guard number >= 0 else { throw Socket.error(path) }
        #if canImport(Darwin)
            var on: Int32 = 1  // a server that has gone is an error, and not the end of the process
            setsockopt(number, SOL_SOCKET, SO_NOSIGPIPE, &on, socklen_t(MemoryLayout<Int32>.size))
        #endif
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let room = MemoryLayout.size(ofValue: address.sun_path)
        let bytes = Array(path.utf8)
        guard bytes.count < room else {
            close()
            throw DsmError.address("unix:\(path), longer than \(room - 1) bytes")
        }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        let size = socklen_t(MemoryLayout<sockaddr_un>.size)
        let failed = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(number, $0, size) }
        }
        if failed != 0 {
            let error = Socket.error(path)
            close()
            throw error
        }
    }

    func close() {
        #if canImport(Glibc)
            _ = Glibc.close(number)
        #else
            _ = Darwin.close(number)
        #endif
    }

    func write(_ data: Data) throws {
        var sent = 0
        try data.withUnsafeBytes { bytes in
            while sent < bytes.count {
                #if canImport(Glibc)
                    let quiet = Int32(MSG_NOSIGNAL)
                #else
                    let quiet: Int32 = 0  // see init
                #endif
                let count = send(number, bytes.baseAddress! + sent, bytes.count - sent, quiet)
                if count <= 0 { throw Socket.error("sending") }
                sent += count
            }
        }
    }

    /// At most so many bytes; nil at the end.
    func some(_ most: Int) throws -> Data? {
        if waiting.isEmpty {
            var buffer = [UInt8](repeating: 0, count: 65536)
            let count = recv(number, &buffer, buffer.count, 0)
            if count < 0 { throw Socket.error("receiving") }
            if count == 0 { return nil }
            waiting = Data(buffer.prefix(count))
        }
        let part = waiting.prefix(most)
        waiting = Data(waiting.dropFirst(part.count))
        return Data(part)
    }

    func line() throws -> String {
        var found = Data()
        while found.count < 65536 {
            guard let byte = try some(1)?.first else {
                throw DsmError.connection("it broke off")
            }
            if byte == UInt8(ascii: "\n") {
                let text = String(decoding: found, as: UTF8.self)
                return text.hasSuffix("\r") ? String(text.dropLast()) : text
            }
            found.append(byte)
        }
        throw DsmError.stranger("a line without an end")
    }

    private static func error(_ what: String) -> DsmError {
        .connection("\(what): \(String(cString: strerror(errno)))")
    }
}
