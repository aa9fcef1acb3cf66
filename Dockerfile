# Built by `make image`, which stages a static program, busybox and the CA certificates in the build context.
# FROM scratch: there is nothing in the image that was not put there on purpose.
FROM scratch
COPY . /
ENV PATH=/bin
# Any uid works: the program writes only below the data directory.
USER 65532:65532
EXPOSE 5000
VOLUME ["/var/lib/registry"]
# As the images it replaces: `docker run IMAGE` serves the registry under this configuration. For both services in one
# process: `docker run --entrypoint portreeve IMAGE up --data /var/lib/registry`.
ENTRYPOINT ["registry"]
CMD ["serve", "/etc/distribution/config.yml"]
