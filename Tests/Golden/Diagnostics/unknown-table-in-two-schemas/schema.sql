CREATE SCHEMA shop;
CREATE SCHEMA app;
CREATE TABLE shop.products (id bigint PRIMARY KEY, price numeric);
CREATE TABLE shop.orders (id bigint PRIMARY KEY, total numeric);
CREATE TABLE app.orders (id bigint PRIMARY KEY, total numeric);
CREATE TABLE app."Big ""one""" (id bigint PRIMARY KEY);
CREATE TABLE shop.items (id bigint PRIMARY KEY);
